"""A sandbox host as the settings say: its stores, its way to the network, and the kinds of mounts that it makes."""

from __future__ import annotations

from pathlib import Path

from agents.clock import SystemClock
from agents.config import Settings
from agents.files.blobs import Blobs, open_blob_store
from agents.hands.admission import Admission
from agents.hands.checkpoint_store import open_store
from agents.hands.egress.gate import Egress
from agents.hands.egress.placeholders import placeholder_key
from agents.hands.host import SandboxHost
from agents.hands.mounts import MountMaker, Mounts
from agents.hands.session_outputs import OutputFiles
from agents.hands.upload_mounts import UploadMounts
from agents.memory.mounting import MemoryMounts, OpenMemory
from agents.repositories.cloning import Cloner
from agents.repositories.mounting import RepositoryAccess, RepositoryMounts
from agents.skills.archive_store import StoredArchives
from agents.skills.mounting import SkillMounts
from agents.skills.records import ArchiveSource
from agents.telemetry.recorder import Recorder, SilentRecorder
from agents.vaults.port import Credentials, NoCredentials


def host_of(
    settings: Settings,
    root: Path,
    *,
    name: str = "sandbox-host",
    credentials: Credentials | None = None,
    repositories: RepositoryAccess | None = None,
    recorder: Recorder | None = None,
    outputs: OutputFiles | None = None,
    memory: OpenMemory | None = None,
    skills: ArchiveSource | None = None,
) -> SandboxHost:
    """Return a host as configured, checkpoints included; *credentials* are those of sessions' vaults.

    *repositories* are those of sessions (None: they have none). *recorder* gets its figures, *outputs* what sessions
    leave in their outputs directories; *memory* opens the memory stores (None: nobody's sessions here have any).
    *skills* has the archives of skills (None: they are where the bytes of files are).

    Raises StoreUnavailable when the store of the checkpoints cannot be used, OSError when the data directory cannot.
    """
    store = open_store(settings.checkpoints, settings.data_dir)
    admission = _admission_of(settings, credentials or NoCredentials())
    return SandboxHost(
        settings.sandbox,
        root,
        name=name,
        checkpoints=settings.checkpoints,
        store=store,
        admission=admission,
        packages=settings.packages,
        recorder=recorder,
        mounts=_mounts_of(settings, repositories, memory, skills, recorder or SilentRecorder()),
        outputs=outputs,
    )


def _mounts_of(
    settings: Settings,
    repositories: RepositoryAccess | None,
    memory: OpenMemory | None,
    skills: ArchiveSource | None,
    recorder: Recorder,
) -> Mounts:
    kept = open_blob_store(settings)
    makers: dict[str, MountMaker] = {
        "file": UploadMounts(Blobs(kept)),
        "skill": SkillMounts(skills or StoredArchives(kept), recorder),
    }
    if repositories is not None:
        limits = settings.repositories
        # More than a sandbox may have on its disk would only end its calls.
        most_bytes = min(limits.max_bytes, settings.sandbox.disk_bytes)
        cloner = Cloner(settings.network.guard(), seconds=limits.clone_seconds, most_bytes=most_bytes)
        makers["repository"] = RepositoryMounts(repositories, cloner, recorder)
    if memory is None:
        return Mounts(makers)
    stores = MemoryMounts(memory, SystemClock(), recorder)
    return Mounts({**makers, "memory": stores}, {"memory": stores})


def _admission_of(settings: Settings, credentials: Credentials) -> Admission:
    """Return what opens sandboxes to the network, as configured. Raises OSError: the data directory cannot be used."""
    run = settings.data_dir / "run"
    run.mkdir(parents=True, exist_ok=True)
    egress = Egress(settings.egress, settings.network.guard())
    return Admission(egress, credentials, placeholder_key(run / "placeholders.key"))
