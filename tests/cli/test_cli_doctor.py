"""`twinctl doctor`: what is there, what is amiss, and what mends it; whatever the libraries and the networks do."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pexpect
import pytest
from starlette.responses import JSONResponse

from twinctl.doctor import checks, examine, probe
from twinctl.errors import ConfigError
from twinctl.workspace.workspace import Workspace

from .conftest import Cli, Done

TESTS = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "twinctl.cli.app", "doctor"]
TOKEN, KEY = "hf_PlantedForTheDoctor01", "CometPlantedForTheDoctor02"
NAMES = [
    *("python", "workspace", "disk", "model cache", "driver", "torch", "gpu", "kernel", "memory"),
    *("llama.cpp", "gguf", "hub", "hf token", "comet", "unsloth"),
]
GIB = 2**30


def stand_in(room: str) -> ModuleType:
    """Another room's stand-in."""
    return importlib.import_module(f"{room}.stand_in")


def hub_with_accounts() -> Any:
    """A Hub that knows whose a token is, and its rights; `accounts` is token → access token as the Hub describes it."""
    room = stand_in("hub")

    class Hub(room.HubStandIn):  # type: ignore[misc, name-defined]
        accounts: dict[str, dict[str, Any]]

        async def _answer(self, request: Any) -> Any:
            answer = self.hang or self.portal or self.status
            if answer or not request.url.path.endswith("/whoami-v2"):
                return await super()._answer(request)
            token = (request.headers.get("authorization") or "").removeprefix("Bearer ")
            self.seen.append(token)
            if token not in self.accounts:
                raise room.Refusal(401, "", "Invalid username or password.")
            access = {"displayName": "twin", **self.accounts[token]}
            return JSONResponse({"type": "user", "name": "me", "orgs": [], "auth": {"accessToken": access}})

    made = Hub()
    made.accounts = {}
    return made


def comet_with_account() -> Any:
    """A Comet that looks at the key where the client asks for its account."""
    room = stand_in("tracking")

    class Comet(room.CometStandIn):  # type: ignore[misc, name-defined]
        async def _app(self, scope: Any, receive: Any, send: Any) -> None:
            key = dict(scope["headers"]).get(b"authorization", b"").decode()
            if self.hang or not scope["path"].endswith("/account-details"):
                await super()._app(scope, receive, send)
            elif key == self.key:
                await JSONResponse({"userName": "me", "defaultWorkspaceName": "mine"})(scope, receive, send)
            else:
                await JSONResponse({"msg": f"no such key {key}"}, 401)(scope, receive, send)

    return Comet(KEY)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    import huggingface_hub.constants  # noqa: F401 - in this process it stays offline, for the tests after these

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with hub_with_accounts() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.fixture
def comet(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with comet_with_account() as server:
        monkeypatch.setenv("COMET_URL_OVERRIDE", server.url)
        yield server


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Leave out all probes but one, whose time may be another."""

    def choose(*groups: str, seconds: float | None = None) -> None:
        left = {group: probe.PROBES[group] for group in groups}
        if seconds:
            left = {group: replace(each, seconds=seconds) for group, each in left.items()}
        monkeypatch.setattr(examine, "PROBES", left)

    return choose


@pytest.fixture
def library(home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a library of this code before the real one."""

    def broken(name: str, code: str) -> None:
        folder = home.parent / f"{home.name}-libraries"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(folder))

    return broken


def finding(done: Done, name: str) -> dict[str, str]:
    """A check's finding in the document."""
    (found,) = [check for check in done.document["checks"] if check["name"] == name]
    return dict(found)


# One real run of everything, in a pipe, with the time at which each line came.


@dataclass
class Real:
    """What the real command printed, when, and what it left."""

    lines: list[str]
    seconds: list[float]
    err: str
    code: int
    left: list[Path]
    asked: list[Any]
    experiments: int

    def row(self, name: str) -> tuple[str, str]:
        """A check's state and finding in the table."""
        (line,) = [line for line in self.lines if line.startswith(f"{name:<11}  ")]
        state, found = re.split(" {2,}", line[11:].strip(), maxsplit=1)
        return state, found


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Real:
    folder = tmp_path_factory.mktemp("doctor")
    with hub_with_accounts() as hub, comet_with_account() as comet:
        hub.accounts[TOKEN] = {"role": "write"}
        kept = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
        own = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "COMET_API_KEY": KEY, "COMET_URL_OVERRIDE": comet.url}
        pipe, began = subprocess.PIPE, time.monotonic()
        with subprocess.Popen(COMMAND, cwd=folder, env=kept | own, stdout=pipe, stderr=pipe, text=True) as process:
            assert process.stdout and process.stderr
            came = [(time.monotonic() - began, line.rstrip("\n")) for line in process.stdout]
            err = process.stderr.read()
        left = [path for path in folder.rglob("*") if path.name != "__pycache__"]
        seconds, lines = zip(*came, strict=True)
        return Real([*lines], [*seconds], err, process.returncode, left, hub.seen, len(comet.experiments))


def test_the_real_command_finds_this_machine_in_order(real: Real) -> None:
    assert real.code == 0, real.err
    assert [line[:11].strip() for line in real.lines if line[:11].strip()] == NAMES
    states = {name: real.row(name)[0] for name in NAMES}
    assert set(states.values()) <= {"ok", "warning"}
    assert {states[name] for name in ("python", "workspace", "torch", "kernel", "llama.cpp", "gguf", "unsloth")} == {
        "ok"
    }


def test_the_real_libraries_are_named_with_their_versions(real: Real) -> None:
    assert re.match(r"\d{4}\.\d+\.\d+ imports, with trl \d", real.row("unsloth")[1])
    assert re.match(r"2\.\d+", real.row("torch")[1])
    assert "xllamacpp" in real.row("llama.cpp")[1]
    assert real.row("hf token") == ("ok", "me's, role write: reads, writes")
    assert real.row("comet") == ("ok", "takes the key, workspace mine")


def test_each_line_comes_as_it_is_known(real: Real) -> None:
    assert real.seconds[-1] - real.seconds[0] > 3, "Unsloth alone takes longer"
    assert real.seconds[0] < real.seconds[-1] / 3
    assert "importing Unsloth" in real.err


def test_the_libraries_own_words_are_not_in_the_table(real: Real) -> None:
    assert "🦥" not in "".join(real.lines) + real.err
    assert len(real.err.splitlines()) == 1


def test_nothing_is_left_behind_nor_told(real: Real) -> None:
    assert real.left == []
    assert real.experiments == 0
    assert [asked for asked in real.asked if asked == TOKEN] == [TOKEN], "one question to the Hub"
    assert not [secret for secret in (TOKEN, KEY) if secret in "".join(real.lines) + real.err]


# The Hub.


def fine(**rights: Any) -> dict[str, Any]:
    return {"role": "fineGrained", "fineGrained": {"global": [], "scoped": [], **rights}}


@pytest.mark.parametrize(
    ("access", "state", "text"),
    [
        ({"role": "read"}, "ok", "role read: reads, does not write"),
        ({"role": "write"}, "ok", "role write: reads, writes"),
        (fine(canReadGatedRepos=True), "ok", "fine-grained: reads, does not write"),
        (fine(canReadGatedRepos=True, scoped=[{"permissions": ["repo.write"]}]), "ok", "fine-grained: reads, writes"),
        (fine(), "warning", "no gated models"),
    ],
)
def test_a_token_s_rights_are_told(
    cli: Cli, hub: Any, only: Any, home: Path, access: dict[str, Any], state: str, text: str
) -> None:
    only("hub")
    hub.accounts[TOKEN] = access
    (home / ".env").write_text(f"HF_TOKEN={TOKEN}\n")
    done = cli("doctor", "--json").ok()
    found = finding(done, "hf token")
    assert (found["state"], text in found["found"]) == (state, True), found
    assert bool(found["mend"]) == (state != "ok")
    assert finding(done, "hub")["state"] == "ok"
    assert TOKEN not in done.out + done.err


def test_a_refused_token_fails_and_names_the_page(
    cli: Cli, hub: Any, only: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    only("hub")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    done = cli("doctor")
    assert done.code == 8
    assert re.search(r"^hub +ok ", done.out, re.MULTILINE)
    assert re.search(r"^hf token +failed +the Hub does not accept the token", done.out, re.MULTILINE)
    assert f"→  make one at {hub.url}/settings/tokens" in done.out
    assert "not in order: hf token" in done.err
    assert TOKEN not in done.out + done.err


def test_no_token_is_a_warning(cli: Cli, hub: Any, only: Any) -> None:
    only("hub")
    done = cli("doctor", "--json").ok()
    assert finding(done, "hub")["state"] == "ok"
    found = finding(done, "hf token")
    assert found["state"] == "warning"
    assert "/settings/tokens" in found["mend"]


def test_a_token_no_header_can_carry_is_said_without_it(
    cli: Cli, hub: Any, only: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    only("hub")
    monkeypatch.setenv("HF_TOKEN", f"{TOKEN}…")
    done = cli("doctor", "--json")
    assert done.code == 8
    assert TOKEN not in done.out + done.err
    assert hub.seen == []


@pytest.mark.parametrize(
    ("fault", "text"), [("stop", "no connection"), ("status", "answered 503"), ("portal", "is not the Hub")]
)
def test_a_hub_that_is_not_there_fails_at_once(
    cli: Cli, hub: Any, only: Any, monkeypatch: pytest.MonkeyPatch, fault: str, text: str
) -> None:
    only("hub")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.stop() if fault == "stop" else setattr(hub, fault, 503)
    began = time.monotonic()
    done = cli("doctor", "--json")
    assert time.monotonic() - began < 10
    assert done.code == 8
    found = finding(done, "hub")
    assert (found["state"], text in found["found"]) == ("failed", True), found
    assert found["mend"]
    assert finding(done, "hf token")["found"] == "not looked at, since hub failed"


def test_a_hub_that_never_answers_fails_within_seconds(cli: Cli, hub: Any, only: Any) -> None:
    only("hub")
    hub.hang = True
    began = time.monotonic()
    found = finding(cli("doctor", "--json"), "hub")
    assert time.monotonic() - began < 15
    assert found["state"] == "failed"
    assert "no answer in time" in found["found"]


def test_network_off_is_said_as_such(cli: Cli, only: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    only("hub")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    done = cli("doctor", "--json").ok()
    found = finding(done, "hub")
    assert (found["state"], found["mend"]) == ("warning", "unset HF_HUB_OFFLINE")
    assert "network off" in found["found"]
    assert "not tried" in finding(done, "hf token")["found"]


# Comet.


def test_a_key_that_comet_takes(cli: Cli, comet: Any, only: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    only("comet")
    monkeypatch.setenv("COMET_API_KEY", KEY)
    done = cli("doctor", "--json").ok()
    assert finding(done, "comet")["state"] == "ok"
    assert comet.experiments == {}


def test_a_key_that_comet_refuses(cli: Cli, comet: Any, only: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    only("comet")
    monkeypatch.setenv("COMET_API_KEY", bad := KEY[::-1])
    done = cli("doctor", "--json")
    assert done.code == 8
    found = finding(done, "comet")
    assert found["found"] == "Comet does not accept COMET_API_KEY"
    assert "apiKeys" in found["mend"]
    assert bad not in done.out + done.err


def test_no_key_and_no_comet_are_warnings(cli: Cli, comet: Any, only: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    only("comet")
    found = finding(cli("doctor", "--json").ok(), "comet")
    assert (found["state"], "COMET_API_KEY" in found["found"]) == ("warning", True)
    comet.stop()
    monkeypatch.setenv("COMET_API_KEY", KEY)
    found = finding(cli("doctor", "--json").ok(), "comet")
    assert (found["state"], "cannot be asked" in found["found"]) == ("warning", True)


def test_a_comet_that_never_answers_is_waited_for_some_seconds(
    cli: Cli, comet: Any, only: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    only("comet")
    comet.hang = True
    monkeypatch.setenv("COMET_API_KEY", KEY)
    monkeypatch.setenv("COMET_URL_OVERRIDE", comet.url)
    began = time.monotonic()
    assert finding(cli("doctor", "--json").ok(), "comet")["state"] == "warning"
    assert time.monotonic() - began < 15


# Libraries that are broken.


def test_a_library_that_raises_is_a_finding_with_its_mend(
    cli: Cli, only: Any, library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    only("unsloth")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    library("unsloth", f"print('NOISE')\nraise RuntimeError('no kernels here\\nwith {TOKEN}')")
    done = cli("doctor")
    assert done.code == 8
    assert "failed   Unsloth cannot start: no kernels here with <HF_TOKEN>" in done.out
    assert "uv sync" in done.out
    assert "NOISE" not in done.out + done.err
    assert TOKEN not in done.out + done.err


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "its process was killed (Segmentation fault)"),
        ("import os; os._exit(0)", "its process ended at once, with exit code 0"),
        ("raise SystemExit('out')", "SystemExit: out"),
        ("import time; time.sleep(60)", "no answer within 4 seconds"),
    ],
)
def test_a_library_that_dies_or_hangs_is_a_finding(cli: Cli, only: Any, library: Any, code: str, text: str) -> None:
    only("gguf", seconds=4)
    library("gguf", code)
    done = cli("doctor", "--json")
    assert done.code == 8
    found = finding(done, "gguf")
    assert (found["state"], found["found"]) == ("failed", text)
    assert "--reinstall-package gguf" in found["mend"]


def test_what_could_not_be_looked_at_is_said(cli: Cli, only: Any, library: Any) -> None:
    only("torch")
    library("torch", "raise ImportError('libcudart.so.13: cannot open shared object file')")
    done = cli("doctor", "--json")
    assert "libcudart.so.13" in finding(done, "torch")["found"]
    assert [check["name"] for check in done.document["checks"]] == NAMES[:9]
    assert {finding(done, name)["found"] for name in ("gpu", "kernel", "memory")} == {
        "not looked at, since torch failed"
    }


def test_ctrl_c_ends_the_probe_too(home: Path, library: Any) -> None:
    library("torch", "import os, pathlib, time\npathlib.Path('pid').write_text(f'{os.getpid()} ')\ntime.sleep(60)")
    pipe = subprocess.PIPE
    with subprocess.Popen(COMMAND, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        while not ((home / "pid").exists() and (home / "pid").read_text().endswith(" ")):
            assert process.poll() is None
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert not Path("/proc", (home / "pid").read_text().strip()).exists()


# The light checks, and what is shown.


@pytest.mark.parametrize(("free", "state", "code"), [(41, "ok", 0), (30, "warning", 0), (0.5, "failed", 8)])
def test_room_on_the_disks(
    cli: Cli, only: Any, monkeypatch: pytest.MonkeyPatch, free: float, state: str, code: int
) -> None:
    only()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free * GIB))
    done = cli("doctor", "--json")
    assert done.code == code
    for name, mend in (("disk", "--workspace"), ("model cache", "HF_HOME")):
        found = finding(done, name)
        assert (found["state"], mend in found["mend"]) == (state, state != "ok")
        assert f"{free:.1f} GiB free" in found["found"]


def test_a_workspace_elsewhere_is_looked_at_where_it_would_be(cli: Cli, only: Any, home: Path) -> None:
    only()
    (home / "big").mkdir()
    done = cli("doctor", "-w", "big/new/twin", "--json").ok()
    assert finding(done, "workspace")["found"].endswith("/big")
    assert finding(done, "disk")["found"].endswith("/big/new/twin")
    assert list((home / "big").iterdir()) == []


def test_a_file_system_without_locks_is_named(cli: Cli, only: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Workspace) -> None:
        raise ConfigError(f"the file system of {self.root} does not keep locks", "choose a local disk: --workspace DIR")

    only()
    monkeypatch.setattr(Workspace, "create", refuse)
    done = cli("doctor", "--json")
    assert done.code == 8
    assert finding(done, "workspace") == {
        "name": "workspace",
        "state": "failed",
        "found": f"the file system of {home} does not keep locks",
        "mend": "choose a local disk: --workspace DIR",
    }


def test_another_python_than_the_range(cli: Cli, only: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    only()
    monkeypatch.setattr(checks, "metadata", lambda name: {"Requires-Python": "<3.5,>=3.3"})
    found = finding(cli("doctor", "--json"), "python")
    assert (found["state"], found["mend"]) == ("failed", "uv python install 3.12")
    assert found["found"].endswith("and twinctl wants <3.5,>=3.3")


def test_a_check_nobody_thought_would_fail_is_a_finding(cli: Cli, only: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: object) -> None:
        raise RuntimeError("what?")

    only()
    monkeypatch.setattr(shutil, "disk_usage", fail)
    done = cli("doctor", "--json")
    assert done.code == 8
    assert finding(done, "disk")["found"] == "RuntimeError: what?"


def test_a_broken_client_of_the_hub_is_a_finding_too(cli: Cli, only: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    only()
    monkeypatch.setitem(sys.modules, "huggingface_hub.constants", None)
    assert finding(cli("doctor", "--json"), "model cache")["state"] == "failed"


def test_a_row_is_a_line_in_a_terminal_too(home: Path, library: Any) -> None:
    library("torch", "raise ImportError('gone')")
    child = pexpect.spawn(COMMAND[0], COMMAND[1:], encoding="utf-8", timeout=120, dimensions=(50, 200))
    child.expect(r"torch +failed +ImportError: gone *\r\n +→ +uv sync --reinstall-package torch")
    child.close(force=True)


# The GPU, as torch would tell of one.


def pretend(monkeypatch: pytest.MonkeyPatch, *, driver: str | None = "570.86.15", **cuda: Any) -> None:
    """A torch built for CUDA 13.0 on a machine with this driver, whose `torch.cuda` says these things."""
    told = {"is_available": lambda: True, "device_count": lambda: 1, **cuda}
    torch = SimpleNamespace(__version__="2.14.1", version=SimpleNamespace(cuda="13.0"), cuda=SimpleNamespace(**told))
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(probe, "nvidia_driver", lambda: driver)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def device(name: str, major: int) -> SimpleNamespace:
    return SimpleNamespace(name=name, major=major, minor=0, total_memory=80 * GIB)


@pytest.mark.parametrize(("able", "state"), [(12080, "failed"), (13000, "ok"), (13010, "ok"), (0, "ok")])
def test_a_torch_too_new_for_the_driver(monkeypatch: pytest.MonkeyPatch, able: int, state: str) -> None:
    pretend(monkeypatch)
    monkeypatch.setattr(probe, "_cuda_of_driver", lambda: able)
    found = probe.torch_build("torch")
    assert found.state == state
    if state == "failed":
        assert found.found == "2.14.1, built for CUDA 13.0; the driver knows CUDA up to 12.8"
        assert "--torch-backend=auto" in found.mend


def test_the_gpus_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, get_device_properties=lambda index: device("H200", 9))
    assert probe.gpu("gpu").found == "H200 (sm_90, 80 GiB), bf16"
    pretend(monkeypatch, get_device_properties=lambda index: device("T4", 7))
    assert probe.gpu("gpu").state == "warning"
    pretend(monkeypatch, is_available=lambda: False)
    assert probe.gpu("gpu").state == "failed"
    pretend(monkeypatch, driver=None)
    assert probe.gpu("gpu").state == "ok"
    pretend(monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert probe.gpu("gpu").mend == "unset CUDA_VISIBLE_DEVICES"


@pytest.mark.parametrize(
    ("free", "state", "mend"), [(79, "ok", ""), (12, "warning", "--method qlora"), (3, "warning", "--preset tiny")]
)
def test_free_memory_of_the_gpu(monkeypatch: pytest.MonkeyPatch, free: int, state: str, mend: str) -> None:
    pretend(monkeypatch, mem_get_info=lambda name: (free * GIB, 80 * GIB))
    found = probe.memory("memory")
    assert (found.state, found.found) == (state, f"{free}.0 of 80.0 GiB free")
    assert mend in found.mend


def test_the_document_is_one_and_nothing_else_is_said(cli: Cli, only: Any) -> None:
    only()
    done = cli("doctor", "--json").ok()
    document = json.loads(done.out)
    assert (document["command"], done.err) == ("doctor", "")
    assert all(set(check) == {"name", "state", "found", "mend"} for check in document["checks"])
    assert [check["name"] for check in document["checks"]] == NAMES[:5]
