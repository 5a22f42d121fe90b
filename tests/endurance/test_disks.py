"""Disks that fill and folders that cannot be written: nothing is lost, nothing is half written."""

from pathlib import Path

import pytest

from tests.cli.conftest import SPOKEN
from tests.support.small_disk import run_on_disk
from tests.support.sound import tone

_TRANSCRIBE = '"$python" -m tests.support.scripted_program transcribe "$@" --model tiny.en -q'
_FILL = 'cat /dev/zero > "$disk/filler" 2>/dev/null'


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    import soundfile

    path = tmp_path / "talk.wav"
    soundfile.write(str(path), tone(440, 1, 16000), 16000)
    return path


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    folder = tmp_path / "disk"
    folder.mkdir()
    return folder


def test_a_full_disk_keeps_the_output_that_was_there(talk: Path, disk: Path) -> None:
    script = f"""disk="{disk}"
echo old > "$disk/talk.txt"
{_FILL}
{_TRANSCRIBE}
echo "code $?"
ls "$disk"
cat "$disk/talk.txt"
"""
    done = run_on_disk(disk, "size=64k", script, str(talk), "-o", str(disk), "-f", "txt")
    assert done.stdout.splitlines() == ["code 1", "filler", "talk.txt", "old"]
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_disk_that_fills_has_whole_files_or_none(talk: Path, disk: Path) -> None:
    """Files from before the disk is full are there, and the next run does the rest."""
    names = " ".join(f'"{talk.parent}/{i}.wav"' for i in range(30))
    script = f"""disk="{disk}"
for name in {names}; do cp "{talk}" "$name"; done
set -- {names} -o "$disk" -f json
{_TRANSCRIBE} >/dev/null
echo "code $?"
for file in "$disk"/*.json; do
    "$python" -m json.tool "$file" >/dev/null || echo "broken $file"
done
ls "$disk" | grep -cv json
ls "$disk" | wc -l
"""
    done = run_on_disk(disk, "size=40k", script)
    code, n_others, n_files = done.stdout.splitlines()
    assert (code, n_others) == ("code 1", "0")
    assert 0 < int(n_files) < 30
    assert done.stderr.count("No space left on device") == 30 - int(n_files)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("options", ["size=4k", "ro"])
def test_a_cache_that_takes_nothing_costs_no_transcript(
    talk: Path, disk: Path, tmp_path: Path, options: str
) -> None:
    fill = "" if options == "ro" else _FILL
    script = f"""disk="{disk}"
export MAXWHISPER_CACHE="{disk}"
{fill}
{_TRANSCRIBE}
"""
    done = run_on_disk(disk, options, script, str(talk), "-o", str(tmp_path), "-f", "txt")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert (tmp_path / "talk.txt").read_text(encoding="utf-8").strip() == SPOKEN.strip()


def test_a_read_only_folder_is_an_error_before_the_work(talk: Path, disk: Path) -> None:
    script = f'{_TRANSCRIBE}\necho "code $?"\n'
    done = run_on_disk(disk, "ro", script, str(talk), "-o", str(disk), "-f", "txt")
    assert done.stdout.splitlines() == ["code 1"]
    assert f"the output folder {disk} cannot be written to" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_download_goes_on_when_the_disk_has_space_again(disk: Path) -> None:
    script = f"""disk="{disk}"
"$python" - <<'END'
import hashlib, http.server, threading, pathlib, random
from weights.download import fetch
from weights.errors import WeightsError
content = random.Random(0).randbytes(300_000)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        first = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(content) - first))
        if first:
            n = len(content)
            self.send_header("Content-Range", f"bytes {{first}}-{{n - 1}}/{{n}}")
        self.end_headers()
        self.wfile.write(content[first:])
        firsts.append(first)
    def log_message(self, *_): pass
firsts = []
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{{server.server_port}}/model"
sha256 = hashlib.sha256(content).hexdigest()
target = pathlib.Path("{disk}/model.pt")
filler = pathlib.Path("{disk}/filler")
filler.write_bytes(bytes(250_000))
try:
    fetch(url, sha256, target)
except WeightsError as error:
    print("No space left" in str(error), target.exists())
filler.unlink()
fetch(url, sha256, target)
names = sorted(path.name for path in target.parent.iterdir())
print(target.read_bytes() == content, firsts[-1] > 0, names)
END
"""
    done = run_on_disk(disk, "size=400k", script)
    assert done.returncode == 0, done.stderr
    refused, fetched = done.stdout.splitlines()
    assert refused == "True False"
    assert fetched.startswith("True True ['model.pt'")
