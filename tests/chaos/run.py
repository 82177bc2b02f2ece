"""One run from the first process to the last: load, misfortune, and what was seen of it."""

from __future__ import annotations

import asyncio
import random
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.chaos import memory, remains
from tests.chaos.api import Api
from tests.chaos.checks import violations
from tests.chaos.effects import EffectServer
from tests.chaos.hook import Hook
from tests.chaos.kept import read_fires, read_kept
from tests.chaos.nemesis import Nemesis
from tests.chaos.options import Options
from tests.chaos.plan import KINDS, plan_file, scripts
from tests.chaos.probe import Probe
from tests.chaos.record import Run, Violation, Visit
from tests.chaos.resource_checks import hooks_are_told
from tests.chaos.scene import Scene, set_scene
from tests.chaos.schedule import schedule
from tests.chaos.script import Script
from tests.chaos.site import Site
from tests.chaos.visitor import Visitor, visits
from tests.unit.repositories.git_server import TOKEN, GitServer, new_repository

_WARM_SECONDS = 120.0
_SETTLE_SECONDS = 5.0
_DELETED_SECONDS = 60.0
_ENDED_SECONDS = 30.0
_AT_A_TIME = 16
_SAMPLE_SECONDS = 5.0
_LOOK_SECONDS = 0.2
_TOLD_SECONDS = 60.0
"""A message to a webhook whose sender was killed comes again within half of this."""
Say = Callable[[str], None]


@dataclass(slots=True)
class Result:
    """What a run came to."""

    options: Options
    run: Run
    violations: list[Violation] = field(default_factory=list)
    before: memory.Sample = field(default_factory=dict)
    after: memory.Sample = field(default_factory=dict)
    samples: list[tuple[float, memory.Sample]] = field(default_factory=list)
    """Memory along the way of a soak, with seconds since its beginning."""
    seconds: float = 0.0
    """From the first session to the last one's end."""
    revision: str = ""


class Course:
    """One run on one site."""

    def __init__(self, options: Options, site: Site, say: Say) -> None:
        self._options = options
        self._site = site
        self._say = say
        self._run = Run()
        self.result = Result(options, self._run, revision=revision())
        self._effects = EffectServer()
        self._hook = Hook()
        self._run.posts = self._hook.posts

    async def go(self) -> Result:
        """Run to the end and check; the site is down afterwards, its directory still there."""
        port = await self._effects.start()
        await self._hook.start()
        made = scripts(self._options.rounds, port)
        folder = self._site.scratch / "repositories"
        folder.mkdir()
        origin = await asyncio.to_thread(new_repository, folder)
        async with GitServer(origin.parent, TOKEN).running() as repositories:
            try:
                await asyncio.to_thread(self._site.start, plan_file(made, port), port)
                await self._live(made, f"{repositories.url}/{origin.name}")
            finally:
                status = await asyncio.to_thread(self._take_down)
                await self._effects.stop()
                await self._hook.stop()
        if status != 0:
            self.result.violations.append(Violation("remains", "shutdown", f"the platform ended with status {status}"))
        self.result.violations += violations(self._run, made)
        return self.result

    def _take_down(self) -> int:
        self._say("taking everything down")
        try:
            return self._site.stop_platform()
        finally:
            self._site.stop_rest()
            look = remains.after_shutdown
            self.result.violations += remains.settled(lambda: look(self._site.data_dir), _ENDED_SECONDS)

    # -- load and misfortune ---------------------------------------------------------------------

    async def _live(self, made: dict[str, Script], repository: str) -> None:
        api = Api(self._site.url)
        probe = Probe(self._site.url)
        self._run.errors, self._run.effects, self._run.outages = api.errors, self._effects.felt, probe.outages
        asking = asyncio.create_task(probe.run())
        working: asyncio.Task[None] | None = None
        try:
            scene = await set_scene(api, self._options.seed, self._hook.url, repository)
            working = asyncio.create_task(self._keep_worker(scene))
            await self._warm_up(api, scene, made)
            began = time.monotonic()
            await self._disturb(api, scene, made, probe)
            self.result.seconds = time.monotonic() - began
            await self._look_back(api, scene)
        finally:
            asking.cancel()
            await _ended(working)
            self._run.absorbed = dict(api.absorbed)
            await api.close()

    async def _keep_worker(self, scene: Scene) -> None:
        """Have a worker serve the sessions whose tools run elsewhere; start it again when it ends, as systemd would."""
        while True:
            worker = await asyncio.to_thread(self._site.start_worker, scene.elsewhere, scene.key)
            try:
                while worker.poll() is None:
                    await asyncio.sleep(_LOOK_SECONDS)
            finally:
                worker.terminate()
                await asyncio.to_thread(worker.wait, _ENDED_SECONDS)

    async def _warm_up(self, api: Api, scene: Scene, made: dict[str, Script]) -> None:
        """One session of each kind, undisturbed: what the parts need once is in the memory before."""
        self._say(f"{self._site.url} is up; one session of each kind first")
        first = visits(len(KINDS))
        self._run.visits += first
        await self._visit_all(api, scene, made, first, [0.0] * len(first), _WARM_SECONDS)
        self.result.before = await self._memory()

    async def _disturb(self, api: Api, scene: Scene, made: dict[str, Script], probe: Probe) -> None:
        options = self._options
        steps = schedule(options)
        nemesis = Nemesis(self._site, steps, self._say, lambda: probe.answered)
        self._run.actions = nemesis.actions
        coming = [visit for visit in visits(options.sessions) if visit.number >= len(KINDS)]
        self._run.visits += coming
        draws = random.Random(f"arrivals {options.seed}")
        starts = sorted(draws.uniform(0, options.spread) for _ in coming)
        lasting = options.spread + sum(step.delay for step in steps) * 3 + options.patience
        load = asyncio.create_task(self._visit_all(api, scene, made, coming, starts, lasting))
        await self._meanwhile(nemesis)
        api.end = time.monotonic() + options.patience
        left = sum(visit.outcome == "unfinished" for visit in coming)
        self._say(f"the nemesis is done; {left} sessions are still at work")
        done, _ = await asyncio.wait([load], timeout=options.patience)
        if not done:
            load.cancel()
            await asyncio.wait([load])
        self._say(f"{sum(visit.outcome == 'done' for visit in self._run.visits)} sessions came to their end")

    async def _meanwhile(self, nemesis: Nemesis) -> None:
        """Let the nemesis do its work; a soak goes on for its whole time and is measured along the way."""
        began = time.monotonic()
        acting = asyncio.create_task(nemesis.run())
        while (now := time.monotonic() - began) < 60 * self._options.soak:
            parts = await asyncio.to_thread(self._site.parts)
            self.result.samples.append((now, await asyncio.to_thread(memory.sample, parts)))
            await asyncio.sleep(_SAMPLE_SECONDS)
        await acting

    async def _visit_all(
        self,
        api: Api,
        scene: Scene,
        made: dict[str, Script],
        guests: Sequence[Visit],
        starts: Sequence[float],
        within: float,
    ) -> None:
        async def visit(guest: Visit, start: float) -> None:
            await asyncio.sleep(start)
            await Visitor(api, scene, made[guest.kind], guest, self._options.seed).run()
            if self._options.soak and guest.outcome == "done":
                await self._read(api, guest)
                await self._delete(api, guest)

        tasks = [asyncio.create_task(visit(*pair)) for pair in zip(guests, starts, strict=True)]
        try:
            await asyncio.wait(tasks, timeout=within)
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            for guest, end in zip(guests, ends, strict=True):
                if isinstance(end, Exception):
                    guest.outcome = f"the client failed: {end!r}"

    # -- afterwards ------------------------------------------------------------------------------

    async def _look_back(self, api: Api, scene: Scene) -> None:
        """Read what became of every session, measure, then delete them all and see that nothing of them stays."""
        gate = asyncio.Semaphore(_AT_A_TIME)
        api.end = time.monotonic() + self._options.patience

        async def each(work: Callable[[Api, Visit], Awaitable[None]], visit: Visit) -> None:
            async with gate:
                await work(api, visit)

        known = [visit for visit in self._run.visits if visit.session_id and not visit.deleted]
        await asyncio.gather(*(each(self._read, visit) for visit in known))
        self.result.after = await self._memory()
        self.result.violations += self._growth()
        await read_fires(api, self._run, scene.deployment)
        await self._hear()
        idle = [visit for visit in known if visit.status == "idle"]
        await asyncio.gather(*(each(self._delete, visit) for visit in idle))
        await self._delete_unasked(api)
        if len(idle) == len(known):
            look = remains.of_deleted_sessions
            found = await asyncio.to_thread(remains.settled, lambda: look(self._site.data_dir), _DELETED_SECONDS)
            self.result.violations += found

    async def _read(self, api: Api, visit: Visit) -> None:
        retrieve, session = api.client.beta.sessions.retrieve, visit.session_id
        visit.final = await api.log(session)
        visit.final_again = await api.log(session)
        row = await api.get("retrieve session", session, lambda: retrieve(session))
        visit.status = row.status
        visit.evaluations = [each.to_dict(mode="json") for each in row.outcome_evaluations or ()]
        await read_kept(api, visit)

    async def _delete(self, api: Api, visit: Visit) -> None:
        delete, session = api.client.beta.sessions.delete, visit.session_id
        await api.get("delete session", session, lambda: delete(session))
        visit.deleted = True

    async def _hear(self) -> None:
        """Wait until the webhook was told of everything; what is missing then is found by the check."""
        end = time.monotonic() + _TOLD_SECONDS
        while any(hooks_are_told(self._run)) and time.monotonic() < end:
            await asyncio.sleep(_LOOK_SECONDS)

    async def _delete_unasked(self, api: Api) -> None:
        """Delete the deployment's sessions that nobody visited: the answers of their runs were lost."""
        retrieve, visited = api.client.beta.sessions.retrieve, {visit.session_id for visit in self._run.visits}
        for session in set(self._run.fired) - visited:
            stray = Visit(-1, "deployed", "none", session)
            while (await api.get("retrieve session", session, partial(retrieve, session))).status != "idle":
                if time.monotonic() > api.end:
                    self.result.violations.append(Violation("ends", session, "nobody visited it, and it is not idle"))
                    return
                await asyncio.sleep(_LOOK_SECONDS)
            await self._delete(api, stray)

    def _growth(self) -> Iterator[Violation]:
        if not self._options.soak:
            yield from memory.growth(self.result.before, self.result.after)
        for slope in memory.slopes(self.settled_samples(self.result)):
            if slope.grows:
                what = f"{slope.per_hour:.1f} MiB/h, at least {slope.low:.1f}, from {slope.start:.0f} MiB"
                yield Violation("memory", slope.part, what)

    @staticmethod
    def settled_samples(result: Result) -> list[tuple[float, memory.Sample]]:
        """The samples of a soak without its first half, in which caches and arenas fill."""
        return [each for each in result.samples if each[0] > 30 * result.options.soak]

    async def _memory(self) -> memory.Sample:
        await asyncio.sleep(_SETTLE_SECONDS)
        parts = await asyncio.to_thread(self._site.parts)
        return await asyncio.to_thread(memory.sample, parts)


async def _ended(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.wait([task])


def revision() -> str:
    """The revision under test; a ``+`` marks changes that are not committed."""
    root = Path(__file__).parents[2]

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "--", "agents", "actors") else "")
