"""Global-guided Reciprocal Learning: the clip network of the paper, and the causal network that runs live.

Symbols follow the paper: X maps, g context, R correlation, H = R·X high, L = (1−R)·X low, M memory,
f high-correlation vectors, u low-correlation vector, p pooled vector, z = [u ; p ; mean f] embedding.
Embeddings are not normalised: whoever compares them does that.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.model.backbones import map_size
from trainer.model.correlation import CorrelationEstimation, FusedCorrelation
from trainer.model.pooling import PairHead, PoolingHead
from trainer.model.reciprocal import ReciprocalLearning, spatial_mean
from trainer.model.stepwise import Stepwise

SEGMENT = 8
"""Frames after which a stream folds its embedding into the tracklet's mean and starts its recurrence anew."""
REMEMBERED_SEGMENTS = 32
"""Beyond this many folded segments the mean forgets at a fixed rate, so that it follows a long tracklet."""


@dataclass(frozen=True, slots=True)
class ClipOutput:
    """What the clip network says of clips (B, T): over all frames at once."""

    correlation: Tensor
    """R (B, T, 1, h, w)"""
    low: Tensor
    """u (B, C), unit length"""
    high: Tensor
    """f (B, T, C), unit length"""
    pooled: Tensor
    """p (B, C), unit length"""
    embedding: Tensor
    """z (B, 3C)"""


@dataclass(frozen=True, slots=True)
class CausalOutput:
    """What the causal network says of clips (B, T) after each frame, of the segment that the frame is in."""

    correlation: Tensor
    """R (B, T, 1, h, w)"""
    low: Tensor
    """u (B, T, C), unit length"""
    high: Tensor
    """f (B, T, C), unit length: of the frame itself"""
    pooled: Tensor
    """p (B, T, C), unit length: over the segment's frames so far"""
    embedding: Tensor
    """(B, T, 3C): of the tracklet so far, all segments"""


@dataclass(frozen=True, slots=True)
class StreamState:
    """What one tracklet carries from crop to crop. All zeros means that nothing was seen yet."""

    count: Tensor
    """(B, 2): frames in the running segment (0…7); segments folded, of all that are remembered (0…1)"""
    context: Tensor
    """g (B, C): mean of GAP(X) over the running segment"""
    memory: Tensor
    """M (B, C, h, w)"""
    high: Tensor
    """f (B, 8, C) of the running segment, zero where not yet seen"""
    mean: Tensor
    """(B, 3C): mean embedding of the folded segments"""

    def __iter__(self) -> Iterator[Tensor]:
        return (getattr(self, field.name) for field in fields(self))

    def rows(self, index: Tensor) -> "StreamState":
        """The state of some tracklets of the batch."""
        return StreamState(*(tensor[index] for tensor in self))


class GRL(nn.Module):
    """The network over any backbone that gives maps (N, channels, h, w) of non-negative features."""

    def __init__(self, backbone: nn.Module, channels: int, size: tuple[int, int]) -> None:
        """`size` is the height and width of the crops it is meant for; it takes any other as well."""
        super().__init__()
        self.channels = channels
        self.size = size
        self.backbone = backbone
        self.correlation: CorrelationEstimation | FusedCorrelation = CorrelationEstimation(channels)
        self.forward_in_time = ReciprocalLearning(channels)
        self.backward_in_time = ReciprocalLearning(channels)
        self.high_norm = nn.BatchNorm1d(channels)
        self.low_norm = nn.BatchNorm1d(channels)
        self.low_steps = Stepwise(channels, SEGMENT)
        self.pooling = PoolingHead(channels)
        self.pair_pooled = PairHead(channels)
        self.pair_low = PairHead(channels)

    @property
    def embedding_size(self) -> int:
        return 3 * self.channels

    @property
    def map_dtype(self) -> torch.dtype:
        """What maps are kept in: float16 after `for_inference(half=True)`. Vectors are float32 always."""
        return self.forward_in_time.phi_high.weight.dtype

    def for_inference(self, half: bool = False) -> "GRL":
        """A copy for evaluation alone, with what can be computed beforehand computed."""
        model = copy.deepcopy(self).eval()
        if isinstance(model.correlation, CorrelationEstimation):
            model.correlation = model.correlation.fused()
        if half:
            for module in model.modules():
                if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
                    module.half()
        return model.requires_grad_(False)

    def features(self, crops: Tensor) -> Tensor:
        """X (B, T, C, h, w) of normalised crops (B, T, 3, H, W)."""
        X = self._maps(crops.flatten(0, 1))
        return _split_batch(X, crops)

    # ---- clip: bidirectional, over all frames at once -------------------------------------------

    def forward(self, clips: Tensor) -> ClipOutput:
        """Clips (B, T, 3, H, W) of normalised RGB."""
        return self.clip(self.features(clips))

    def clip(self, X: Tensor) -> ClipOutput:
        """The clip network on maps X (B, T, C, h, w)."""
        T = X.shape[1]
        context = spatial_mean(X).mean(dim=1, keepdim=True).expand(-1, T, -1)
        R, H, L = self._split(X, context)
        start = L.mean(dim=1)
        f_forward, M_forward = self._recur(self.forward_in_time, H, L, start)
        f_backward, M_backward = self._recur(self.backward_in_time, H.flip(1), L.flip(1), start)
        f = self._unit(f_forward + f_backward.flip(1), self.high_norm)
        u = self._unit(M_forward[:, -1] + M_backward[:, -1], self.low_norm)
        p = self.pooling(f, f.new_ones(1, 1, T))[:, 0]
        return ClipOutput(R, u, f, p, torch.cat((u, p, f.mean(dim=1)), dim=-1))

    def window(self, clips: Tensor, length: int = SEGMENT, hop: int = SEGMENT) -> Tensor:
        """Every `hop` frames the exact clip embedding of the last `length`: (B, T // hop, 3C)."""
        X = self.features(clips)
        ends = range(hop, clips.shape[1] + 1, hop)
        windows = [self.clip(X[:, max(0, end - length) : end]).embedding for end in ends]
        return (
            torch.stack(windows, dim=1) if windows else X.new_zeros(len(X), 0, self.embedding_size)
        )

    # ---- causal: what a stream can know, computed for all frames at once -------------------------

    def causal(self, clips: Tensor) -> Tensor:
        """The embedding (B, T, 3C) after each frame of clips (B, T, 3, H, W), as `step` would give it."""
        return self.causal_outputs(clips).embedding

    def causal_outputs(self, clips: Tensor) -> CausalOutput:
        """The causal network in the form that it trains in."""
        X = self.features(clips)
        B, T = X.shape[:2]
        whole = T - T % SEGMENT
        parts = []
        if whole:
            segments = self._causal_segments(X[:, :whole].reshape(-1, SEGMENT, *X.shape[2:]))
            parts.append([tensor.reshape(B, whole, *tensor.shape[2:]) for tensor in segments])
        if whole < T:
            parts.append(list(self._causal_segments(X[:, whole:])))
        R, u, f, p, z = (torch.cat(tensors, dim=1) for tensors in zip(*parts, strict=True))
        return CausalOutput(R, u, f, p, self._fold_segments(z))

    def memories(self, clips: Tensor) -> Tensor:
        """2·GAP(M) (B, T, C) after each of the first T ≤ 8 frames, as it comes to be normalised."""
        return self._causal_recurrence(self.features(clips))[2]

    def _causal_recurrence(self, X: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """R, and not yet normalised f and GAP(M), of segments X (N, T ≤ 8, C, h, w), after each frame."""
        frames = torch.arange(1, X.shape[1] + 1, device=X.device, dtype=torch.float32)[:, None]
        R, H, L = self._split(X, spatial_mean(X).cumsum(dim=1) / frames)
        f, M = self._recur(self.forward_in_time, H, L, L[:, 0])
        return R, 2 * f, 2 * M

    def _causal_segments(self, X: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """R, u, f, p, z of segments X (N, T ≤ 8, C, h, w), after each frame, each (N, T, …)."""
        T = X.shape[1]
        frames = torch.arange(1, T + 1, device=X.device, dtype=torch.float32)[:, None]
        R, f, M = self._causal_recurrence(X)
        f = self._unit(f, self.high_norm)
        u = self._unit(self.low_steps(M), self.low_norm)
        p = self.pooling(f, f.new_ones(T, T).tril()[None])
        return R, u, f, p, torch.cat((u, p, f.cumsum(dim=1) / frames), dim=-1)

    def _fold_segments(self, z: Tensor) -> Tensor:
        """Embeddings within segments (B, T, E) to embeddings of the tracklet so far."""
        T = z.shape[1]
        mean, out = torch.zeros_like(z[:, 0]), []
        for start in range(0, T, SEGMENT):
            part = z[:, start : start + SEGMENT]
            n = torch.arange(1, part.shape[1] + 1, device=z.device, dtype=z.dtype)[:, None]
            folded = min(start // SEGMENT, REMEMBERED_SEGMENTS)
            out.append(mean[:, None] + (part - mean[:, None]) * (n / (SEGMENT * folded + n)))
            mean = out[-1][:, -1]
        return torch.cat(out, dim=1)

    # ---- stream: the same, one crop at a time ----------------------------------------------------

    def initial_state(self, batch: int, size: tuple[int, int] | None = None) -> StreamState:
        """The state of tracklets of which nothing was seen yet, for crops of `size` (height, width)."""
        C, vector = self.channels, self.high_norm.weight
        memory = torch.zeros(
            batch, C, *map_size(*(size or self.size)), dtype=self.map_dtype, device=vector.device
        )
        return StreamState(
            count=vector.new_zeros(batch, 2),
            context=vector.new_zeros(batch, C),
            memory=memory,
            high=vector.new_zeros(batch, SEGMENT, C),
            mean=vector.new_zeros(batch, 3 * C),
        )

    def step(self, crops: Tensor, state: StreamState) -> tuple[Tensor, StreamState]:
        """One more normalised crop (B, 3, H, W) of each tracklet: its embedding (B, 3C) and its new state."""
        frame, folded = state.count[:, :1], state.count[:, 1:] * REMEMBERED_SEGMENTS
        n = frame + 1
        X = self._maps(crops)
        g = state.context + (spatial_mean(X) - state.context) / n
        R = self.correlation(
            X, g
        )  # no dimension for time: runtimes would turn the maps' layout around
        H, L = R * X, (1 - R) * X
        first = (frame == 0)[:, :, None, None]
        f, M = self.forward_in_time(H, L, torch.where(first, L, state.memory))
        f = F.normalize(self.high_norm(2 * f), dim=-1)
        low = self.low_steps.at(frame, 2 * spatial_mean(M))
        u = F.normalize(self.low_norm(low), dim=-1)

        position = torch.arange(SEGMENT, device=X.device, dtype=torch.float32)[None]
        f = torch.where((position == frame)[:, :, None], f[:, None], state.high)
        p = self.pooling(f, (position <= frame).to(f.dtype)[:, None])[:, 0]
        z = torch.cat((u, p, f.sum(dim=1) / n), dim=-1)
        embedding = state.mean + (z - state.mean) * (n / (SEGMENT * folded + n))

        ends = n == SEGMENT
        goes_on = (~ends).to(f.dtype)
        folded = (folded + ends.to(f.dtype)).clamp(max=REMEMBERED_SEGMENTS) / REMEMBERED_SEGMENTS
        count = torch.cat((n * goes_on, folded), dim=1)
        return embedding, StreamState(
            count=count,
            context=g * goes_on,
            memory=M,  # the next segment's first frame does not look at it
            high=f * goes_on[:, :, None],
            mean=torch.where(ends, embedding, state.mean),
        )

    # ---- parts -------------------------------------------------------------------------------------

    def _maps(self, crops: Tensor) -> Tensor:
        X: Tensor = self.backbone(crops.to(self.map_dtype))
        return X

    def _split(self, X: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """R, H and L of maps X (B, T, C, h, w), each against its context (B, T, C)."""
        R = _split_batch(self.correlation(X.flatten(0, 1), context.flatten(0, 1)), X)
        return R, R * X, (1 - R) * X

    @staticmethod
    def _recur(
        direction: ReciprocalLearning, H: Tensor, L: Tensor, M: Tensor
    ) -> tuple[Tensor, Tensor]:
        """f and GAP(M), each (B, T, C), after each frame of H and L (B, T, C, h, w), starting from M."""
        vectors, memories = [], []
        for high, low in zip(H.unbind(1), L.unbind(1), strict=True):
            f, M = direction(high, low, M)
            vectors.append(f)
            memories.append(spatial_mean(M))
        return torch.stack(vectors, dim=1), torch.stack(memories, dim=1)

    @staticmethod
    def _unit(values: Tensor, norm: nn.BatchNorm1d) -> Tensor:
        return F.normalize(norm(values.flatten(0, -2)), dim=-1).view_as(values)


def _split_batch(values: Tensor, like: Tensor) -> Tensor:
    """(B·T, …) to (B, T, …), with B and T of `like`."""
    return values.reshape(*like.shape[:2], *values.shape[1:])
