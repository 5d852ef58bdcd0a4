"""Backbones that others trained, as torchvision and timm save them."""

import pytest
import torch

from trainer.compat import import_with_torchvision
from trainer.errors import WeightsError
from trainer.model import create_model
from trainer.pretrained import TIMM_NAMES, start_from


@pytest.mark.parametrize("name", ["grl-r50", "grl-edge"])
def test_a_whole_classifier_s_weights_become_the_backbone(name, tmp_path):
    timm = import_with_torchvision("timm")
    whole = timm.create_model(TIMM_NAMES[name].split(".")[0]).eval()
    path = tmp_path / "whole.pth"
    torch.save(whole.state_dict(), path)
    network = create_model(name).eval()
    start_from(network, name, str(path))
    crop = torch.randn(1, 3, 64, 32)
    with torch.inference_mode():
        for (key, wanted), found in zip(
            whole.state_dict().items(), network.backbone.net.state_dict().values(), strict=False
        ):
            assert torch.equal(wanted, found), key
        assert network.backbone(crop).isfinite().all()


def test_another_network_s_backbone_is_refused(tmp_path):
    path = tmp_path / "other.pth"
    torch.save({"conv1.weight": torch.zeros(3)}, path)
    with pytest.raises(WeightsError, match="does not fit the backbone of grl-r50: missing bn1"):
        start_from(create_model("grl-r50"), "grl-r50", str(path))
    path.write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="not a whole file of weights"):
        start_from(create_model("grl-edge"), "grl-edge", str(path))
