"""Who is where on a site at any moment: people with errands, company and manners.

The world advances in fixed steps from its seed alone, so every camera, process and run sees the
same people. It
holds the people on the site, a bounded list of those who will be back, and a few past moments,
whatever the time.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthetic.errors import RequestError
from synthetic.gait import stride_length
from synthetic.look import Look, look_of
from synthetic.palette import Palette
from synthetic.routes import routes_of
from synthetic.site import Site
from synthetic.steering import steer

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STEP = 0.1
_KEPT = 16
_AWAY = 48
"""How many who left may come back; beyond it the longest gone stay away for good."""


@dataclass(frozen=True, slots=True)
class People:
    """Everybody on the site at one moment, (N,) each unless said."""

    time: float
    ids: Ints
    """Global identities, from 1, never reused for somebody else."""
    position: Floats
    """(N, 2) metres."""
    velocity: Floats
    """(N, 2) metres per second."""
    heading: Floats
    """Radians from +x, counter-clockwise, not wrapped."""
    phase: Floats
    """Cycles walked, see `gait`."""
    amount: Floats
    """0 standing … 1 striding."""
    glance: Floats
    """Radians that the head is turned to the left."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(slots=True)
class _Person:
    """What somebody is up to; where they are stands in the arrays of `World`."""

    id: int
    look: Look
    errands: list[int]
    leader: int = 0
    """Identity of the one whom this person accompanies; 0 for nobody."""
    offset: float = 0.0
    wait_until: float = -1.0
    face: float = 0.0


class World:
    """The people of a site. `identity(id)` is a pure function of (seed, id, palette)."""

    def __init__(self, site: Site, seed: int, palette: Palette = "all") -> None:
        if seed < 0:
            raise RequestError(f"A seed is 0 or more, not {seed}.")
        self.site, self.seed, self.palette = site, seed, palette
        self._goals = site.doors + site.spots
        self.routes = routes_of(site, self._goals)
        self._restart()

    def identity(self, person: int) -> Look:
        """The look of a global identity."""
        return look_of(self.seed, person - 1, self.palette)

    def people_at(self, time: float) -> People:
        """Everybody at `time` seconds from the start. Cheap going forward; going far back starts
        over.
        """
        if not 0 <= time < 1e7:
            raise RequestError(f"Time {time} lies outside the world, which begins at 0.")
        tick = int(time / STEP + 1e-9)
        if tick < self._past[0][0]:
            self._restart()
        while self._past[-1][0] <= tick:
            self._advance()
        first = tick - self._past[0][0]
        return _between(self._past[first][1], self._past[first + 1][1], time)

    def _restart(self) -> None:
        self._rng = np.random.default_rng([self.seed, 7])
        self._tick, self._next = 0, 1
        self._people: list[_Person] = []
        self._away: list[tuple[float, int]] = []
        self._position, self._velocity = np.zeros((0, 2)), np.zeros((0, 2))
        self._heading, self._phase = np.zeros(0), np.zeros(0)
        self._amount, self._glance = np.zeros(0), np.zeros(0)
        for _ in range(self.site.people):
            place = self._goals[int(self._rng.integers(len(self._goals)))]
            self._arrive(np.asarray(place) + self._rng.uniform(-1, 1, 2), 1)
        for _ in range(300):  # half a minute for them to find their feet before anybody looks
            self._step()
        self._past: deque[tuple[int, People]] = deque([(0, self._snapshot(0))], maxlen=_KEPT)

    def _advance(self) -> None:
        self._step()
        tick = self._past[-1][0] + 1
        self._past.append((tick, self._snapshot(tick)))

    def _snapshot(self, tick: int) -> People:
        return People(
            time=tick * STEP,
            ids=np.array([p.id for p in self._people], dtype=np.int64),
            position=self._position.copy(), velocity=self._velocity.copy(),
            heading=self._heading.copy(),
            phase=self._phase.copy(), amount=self._amount.copy(), glance=self._glance.copy(),
        )  # fmt: skip

    def _step(self) -> None:
        self._tick += 1
        now = self._tick * STEP
        self._welcome(now)
        if not self._people:
            return
        row_of = {person.id: row for row, person in enumerate(self._people)}
        leader = np.array([row_of.get(p.leader, -1) for p in self._people])
        goals = np.array([p.errands[0] for p in self._people])
        waiting = np.array([p.wait_until > now for p in self._people])
        pace = np.array([p.look.speed for p in self._people])
        offset = np.array([p.offset for p in self._people])
        way, left = self.routes.towards(goals, self._position)
        gap, away = self.routes.walls(self._position)
        self._velocity = steer(
            self._position,
            self._velocity,
            self._heading,
            way,
            left,
            pace,
            waiting,
            leader,
            offset,
            gap,
            away,
            STEP,
        )
        self._position = self._position + self._velocity * STEP
        gap, away = self.routes.walls(self._position)
        self._position = self._position + away * np.clip(0.22 - gap, 0, 0.1)[:, None]
        self._turn(waiting, leader)
        self._errands(now, left, leader)

    def _turn(self, waiting: NDArray[np.bool_], leader: Ints) -> None:
        """Bodies turn where they go, or to what they stand for; legs follow the ground covered."""
        speed = np.hypot(*self._velocity.T)
        face = np.array([p.face for p in self._people])
        company = np.where(leader >= 0, leader, np.arange(len(leader)))
        facing = self._position[company] - self._position
        face = np.where(leader >= 0, np.arctan2(facing[:, 1], facing[:, 0]), face)
        still = waiting | (waiting[company] & (speed < 0.3))
        wish = np.where(speed > 0.25, np.arctan2(self._velocity[:, 1], self._velocity[:, 0]), face)
        moves = (speed > 0.25) | still
        turn = (wish - self._heading + np.pi) % (2 * np.pi) - np.pi
        rate = np.where(speed > 0.25, 4.0, 1.8)
        self._heading = self._heading + np.where(
            moves, np.clip(2.5 * turn * STEP, -rate * STEP, rate * STEP), 0.0
        )
        self._amount += (np.clip(speed / 0.5, 0, 1) ** 0.7 - self._amount) * 0.35
        stride = np.array(
            [
                stride_length(p.look.height, p.look.stride, v)
                for p, v in zip(self._people, speed, strict=True)
            ]
        )
        self._phase = self._phase + speed / (stride * np.maximum(self._amount, 0.35)) * STEP
        wander = self._rng.normal(0, 0.25, len(speed))
        self._glance = np.clip(0.93 * self._glance + 0.4 * wander, -0.9, 0.9)

    def _errands(self, now: float, left: Floats, leader: Ints) -> None:
        """Stop at goals reached, go on to the next, leave by doors."""
        doors, gone = len(self.site.doors), []
        for row in np.flatnonzero((left < 0.9) & (leader < 0)).tolist():
            person = self._people[row]
            if person.wait_until > now:
                continue
            if person.errands[0] < doors:
                if left[row] < 0.6:
                    gone.append(row)
                continue
            if person.wait_until < 0 and self._rng.random() < 0.75:
                person.wait_until = now + float(np.clip(self._rng.exponential(7.0), 2.0, 30.0))
                person.face = float(self._rng.uniform(-np.pi, np.pi))
                continue
            person.wait_until = -1.0
            person.errands.pop(0)
            for other in self._people:
                if other.leader == person.id:
                    other.errands = list(person.errands)
        for row in sorted(gone, reverse=True):
            self._leave(row, now)

    def _leave(self, row: int, now: float) -> None:
        person = self._people.pop(row)
        for other in self._people:  # company follows through the door on its own
            if other.leader == person.id:
                other.leader, other.wait_until = 0, -1.0
        if self._rng.random() < 0.65:
            self._away.append(
                (now + 10 * float(np.exp(self._rng.uniform(0, np.log(18)))), person.id)
            )
            del self._away[:-_AWAY]
        for name in ("_position", "_velocity", "_heading", "_phase", "_amount", "_glance"):
            setattr(self, name, np.delete(getattr(self, name), row, axis=0))

    def _welcome(self, now: float) -> None:
        """Let people in by doors, alone or in company, so that the site stays as busy as it should
        be.
        """
        missing = self.site.people - len(self._people)
        if missing <= 0 or self._rng.random() > missing * STEP / 6.0:
            return
        door = np.asarray(self.site.doors[int(self._rng.integers(len(self.site.doors)))])
        if len(self._position) and np.hypot(*(self._position - door).T).min() < 1.0:
            return
        self._arrive(door, min(missing, int(self._rng.choice(3, p=(0.66, 0.25, 0.09))) + 1))

    def _arrive(self, place: Floats, count: int) -> None:
        doors, spots = len(self.site.doors), len(self.site.spots)
        errands = [doors + int(k) for k in self._rng.permutation(spots)[: self._rng.integers(1, 5)]]
        errands.append(int(self._rng.integers(doors)))
        leader = 0
        for member in range(count):
            identity = self._who()
            person = _Person(identity, self.identity(identity), list(errands), leader)
            person.offset = (0.0, 0.75, -0.75)[member]
            leader = leader or identity
            self._people.append(person)
            at = place + self._rng.uniform(-0.3, 0.3, 2)
            self._position = np.concatenate([self._position, at[None]])
            self._velocity = np.concatenate([self._velocity, np.zeros((1, 2))])
            way, _ = self.routes.towards(np.array(errands[:1]), at[None])
            self._heading = np.append(self._heading, np.arctan2(way[0, 1], way[0, 0]))
            self._phase = np.append(self._phase, self._rng.random())
            self._amount, self._glance = np.append(self._amount, 0.0), np.append(self._glance, 0.0)

    def _who(self) -> int:
        """Somebody who is due back, or somebody new."""
        now = self._tick * STEP
        due = [entry for entry in self._away if entry[0] <= now]
        if due and self._rng.random() < 0.8:
            entry = due[0]
            self._away.remove(entry)
            return entry[1]
        self._next += 1
        return self._next - 1


def _between(before: People, after: People, time: float) -> People:
    """People between two steps; whoever is not there at both is not there."""
    shared, a, b = np.intersect1d(before.ids, after.ids, return_indices=True)
    t = (time - before.time) / STEP

    def mix(first: Floats, second: Floats) -> Floats:
        return first[a] * (1 - t) + second[b] * t

    return People(
        time=time, ids=shared, position=mix(before.position, after.position),
        velocity=mix(before.velocity, after.velocity), heading=mix(before.heading, after.heading),
        phase=mix(before.phase, after.phase), amount=mix(before.amount, after.amount),
        glance=mix(before.glance, after.glance),
    )  # fmt: skip
