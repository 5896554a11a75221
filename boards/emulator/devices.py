"""What fieldhead does with the board's devices, and what this machine's own fieldhead says to the same photos."""

import hashlib
import json
import os
import shlex
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

from machine import Machine

# Small frames: the simulated camera draws them on the emulated processor.
CAMERA = "camera,width=320,height=180"
SENSOR = "i2c:1:0x48,kind=tmp105"
BUTTON, WRONG, LAMP, OTHER_LAMP = 17, 22, 5, 6
# A tmp105's step, and thousandths of a degree below, at and above zero.
STEP_C = 1 / 16
TEMPERATURES_MC = [-25_000, 0, 23_500, 84_938]
# The settings of the field, here and on the board: one view, since embedding is slow where every instruction is emulated.
SETTINGS = "--fit squash --features final"
DEVICE_ERROR = 4
MODELS = Path(__file__).resolve().parents[2] / "models"


def objects(text):
    """JSON Lines among other lines."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]


class Host:
    """This machine's program, in a folder of its own that sees the card's photos."""

    def __init__(self, program, folder, card):
        self.program, self.folder = program, folder
        for name in ("photos", "new"):
            (folder / name).symlink_to(card / name)

    def run(self, arguments):
        """Runs the program; its JSON."""
        command = [self.program, *shlex.split(arguments), "--json"]
        environment = {**os.environ, "FIELDHEAD_MODELS": str(MODELS)}
        ran = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)
        assert ran.returncode == 0, f"{arguments} ended with {ran.returncode} here: {ran.stderr}"
        return objects(ran.stdout)


class Board:
    """The program on the board."""

    def __init__(self, machine):
        self.machine = machine

    def run(self, arguments):
        """Runs the program; its JSON."""
        code, said = self.machine.run(f"fieldhead {arguments} --json")
        assert code == 0, f"fieldhead {arguments} ended with {code}: {said[-500:]}"
        return objects(said)

    def refused(self, arguments, part, user=None):
        """Runs the program where a device cannot serve; what it says."""
        command = f"fieldhead {arguments}"
        if user:
            command = f"su {user} -c {shlex.quote(command)}"
        code, said = self.machine.run(command)
        assert code == DEVICE_ERROR and part in said, f"{command} ended with {code}: {said[-500:]}, expected '{part}'"
        return said.strip()


def wait_until(true, what, seconds=60):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"{what} did not happen within {seconds} s"
        time.sleep(0.05)


def check(report, image, host, log_path):
    """Boots the board and tries everything but the power; whether the board booted and learned."""
    with log_path.open("wb") as log, Machine(image, log) as machine:
        tried = Tried(machine, host)
        if not report.run("boots", tried.boots):
            return False
        report.run("board list, board check", tried.is_checked)
        report.run("temperature over I2C", tried.reads_the_sensor)
        report.run("no answer on the bus", tried.tells_a_missing_answer)
        report.run("temperature: learned", tried.learns_the_sensor)
        if not report.run("photos: collect, train", tried.learns_photos):
            return False
        report.run("photos: predict", tried.predicts_photos)
        report.run("features as on the host", tried.gives_the_same_features)
        report.run("camera: collect", tried.collects_from_the_camera)
        report.run("camera: wrong format", tried.tells_a_wrong_format)
        report.run("camera: busy", tried.tells_a_busy_camera)
        report.run("camera: unplugged", tried.goes_on_after_unplugging)
        report.run("permission denied", tried.tells_what_is_denied)
        # Before the next two, which teach another name for what the camera sees.
        report.run("lamps, a line in use", tried.shows_by_lamp)
        report.run("button", tried.collects_by_button)
        report.run("wrong, and what it is", tried.corrects_by_button)
        report.run("lines again", tried.frees_its_lines)
        report.run("switches off", machine.switch_off)
    return True


class Tried:
    """One check a method: what was seen, or an AssertionError with what was expected."""

    def __init__(self, machine, host):
        self.machine, self.host = machine, host
        self.board = Board(machine)

    def boots(self):
        self.machine.boot()
        return self.machine.run("uname -sr")[1].strip()

    def is_checked(self):
        this = [board["name"] for board in self.board.run("board list") if board["this"]]
        assert this == ["raspberry-pi-3"], this
        (said,) = self.board.run("board check --seconds 0")
        assert said["board"] == "raspberry-pi-3" and said["fail"] == 0, said
        found = {finding["area"]: finding for finding in said["findings"]}
        for area, part in [("cpu", "Cortex-A53"), ("i2c", "0x48"), ("gpio", "pinctrl-bcm2835"), ("camera", "/dev/video0")]:
            assert found[area]["severity"] == "ok" and part in found[area]["found"], found[area]
        return f"raspberry-pi-3, {said['ok']} ok, {said['warn']} warnings"

    def reads_the_sensor(self):
        seen = []
        for thousandths in TEMPERATURES_MC:
            self.machine.set_temperature(thousandths)
            (row,) = self.board.run(f"board read {SENSOR}")
            assert abs(row["temperature_c"] - thousandths / 1e3) < STEP_C, f"{row}, expected {thousandths / 1e3}"
            seen.append(f"{row['temperature_c']:.2f}")
        return f"{', '.join(seen)} °C"

    def tells_a_missing_answer(self):
        self.board.refused("board read i2c:1:0x4a,kind=tmp105", "nothing answers at address 0x4a")
        self.board.refused("board read i2c:9:0x48,kind=tmp105", "there is no /dev/i2c-9")
        return "0x4a does not answer, /dev/i2c-9 is not there"

    def learns_the_sensor(self):
        source, answers = f"--field /sd/warmth --threads 1 %s --source {SENSOR},steps=8", []
        for verb in ("collect --count 2 --label", "predict"):
            for label, thousandths in (("cold", 4000), ("warm", 31000)):
                self.machine.set_temperature(thousandths)
                said = self.board.run(source % (f"{verb} {label}" if "label" in verb else verb))
                answers.append(said[0]["label"])
            if verb != "predict":
                self.board.run("--field /sd/warmth train")
        assert answers == ["cold", "warm"] * 2, answers
        return "windows of eight temperatures: cold and warm are told apart"

    def learns_photos(self):
        answers = []
        for side in (self.host, self.board):
            taken = side.run(f"{SETTINGS} collect --from photos")[-1]
            (head,) = side.run("train")
            answers.append((taken["collected"], head["head"], head["classes"]))
        assert answers[0] == answers[1], answers
        return f"{answers[1][0]} photos, head {answers[1][1]}"

    def predicts_photos(self):
        photos = " ".join(str(path.relative_to(self.host.folder)) for path in sorted(self.host.folder.glob("new/*/*")))
        here, there = ([(it["path"], it["label"]) for it in side.run(f"predict {photos}")] for side in (self.host, self.board))
        assert here == there, f"{here} here, {there} there"
        right = sum(path.split("/")[1] == label for path, label in there)
        return f"{right} of {len(there)} right, all as on the host"

    def gives_the_same_features(self):
        (said,) = self.host.run("features --from photos --out features.npz")
        self.board.run("features --from photos --out /tmp/features.npz")
        _, there = self.machine.run("sha256sum < /tmp/features.npz")
        here = hashlib.sha256((self.host.folder / "features.npz").read_bytes()).hexdigest()
        assert here == there.split()[0], f"SHA-256 {here} here, {there} there"
        return f"{said['n']} of {said['width']} numbers, same bytes, SHA-256 {here[:16]}…"

    def collects_from_the_camera(self):
        *samples, total = self.board.run(f"collect --label bars --source {CAMERA} --count 3")
        numbers = [int(sample["path"].split("#")[1]) for sample in samples]
        assert total["collected"] == 3 and numbers == sorted(set(numbers)), samples
        self.board.run("train --head ridge")
        return f"3 samples of vivid, its frames {', '.join(map(str, numbers))}"

    def tells_a_wrong_format(self):
        return self.board.refused("predict --source camera,format=mjpeg", "does not offer MJPEG")[:60] + "…"

    def tells_a_busy_camera(self):
        with self.in_background(f"predict --source {CAMERA} --count 1000", lines=1):
            self.board.refused(f"predict --source {CAMERA}", "is used by another program")
        return "told while another program reads it"

    def goes_on_after_unplugging(self):
        driver = "/sys/bus/platform/drivers/vivid"
        with self.in_background(f"predict --source {CAMERA} --count 1000", lines=1):
            code, said = self.machine.run(f"echo vivid.0 > {driver}/unbind && usleep 500000 && echo vivid.0 > {driver}/bind")
            assert code == 0, said
            lines = self.count()
            wait_until(lambda: self.count() > lines + 1, "a picture after plugging in again")
        return "the driver was unbound and bound again while pictures were read; it went on"

    def tells_what_is_denied(self):
        for arguments, group in [(f"board read {SENSOR}", "i2c"), (f"predict --source {CAMERA}", "video")]:
            self.board.refused(f"--field /sd/field {arguments}", f"group {group}", user="nobody")
        return "for the bus and the camera, with the group that may"

    def collects_by_button(self):
        with self.in_background(f"collect --source {CAMERA} --button pressed=GPIO{BUTTON}:high --count 2", lines=0):
            wait_until(lambda: self.consumer(BUTTON), "a request of the button's line")
            time.sleep(1)
            assert self.count() == 0, "samples came before the button was pressed"
            self.machine.drive(BUTTON, True)
            wait_until(lambda: self.count() == 3, "two samples and their sum")
            self.machine.drive(BUTTON, False)
        taken = [sample for sample in self.board.run("samples") if sample["label"] == "pressed"]
        assert len(taken) == 2 and len({sample["burst"] for sample in taken}) == 1, taken
        return f"none before GPIO{BUTTON} was driven, then 2 samples of one press"

    def corrects_by_button(self):
        before = self.board.run("history")[-1]["version"]
        buttons = f"--wrong GPIO{WRONG}:high --button pressed=GPIO{BUTTON}:high"
        with self.in_background(f"predict --source {CAMERA} --lamp bars=GPIO{LAMP} {buttons}", lines=2):
            wait_until(lambda: self.machine.level(LAMP) == 1, f"GPIO{LAMP} high")
            self.press(BUTTON)
            self.press(WRONG)
            wait_until(lambda: self.said("wrong"), "a word of what is wrong")
            self.press(BUTTON)
            wait_until(lambda: self.said("corrected"), "a correction")
            after = self.count()
            wait_until(lambda: self.count() > after, "an answer of the new head")
            # Beside what still predicts: the field is free.
            newest = self.board.run("history")[-1]
        assert self.machine.level(LAMP) == 0, f"GPIO{LAMP} is high behind a program that was stopped"
        ((wrong,), (corrected,)) = self.said("wrong"), self.said("corrected")
        assert corrected["corrected"] == wrong["wrong"] and corrected["label"] == "pressed", (wrong, corrected)
        assert corrected["version"] == newest["version"] == before + 1, (before, corrected, newest)
        (sample,) = [it for it in self.board.run("samples") if it["id"] == corrected["id"]]
        assert sample["label"] == "pressed", sample
        frame_ms = sorted(answer["ms"] for answer in self.said("ms"))
        return f"frame {wrong['wrong']} was learned, head version {before} to {newest['version']}; {frame_ms[0]:.0f} to {frame_ms[-1]:.0f} ms a frame"

    def shows_by_lamp(self):
        lamps = f"--lamp bars=GPIO{LAMP} --lamp disc=GPIO{OTHER_LAMP}:low"
        with self.in_background(f"predict --source {CAMERA} --count 1000 {lamps}", lines=1):
            wait_until(lambda: self.machine.level(LAMP) == 1, f"GPIO{LAMP} high")
            assert self.machine.level(OTHER_LAMP) == 1, "a lamp that is on when low is not off"
            said = self.board.refused(f"predict --source line:1 --lamp bars=GPIO{LAMP}", f"pin GPIO{LAMP} is used by fieldhead")
        assert self.machine.level(LAMP) == 0, f"GPIO{LAMP} is high behind a program that was stopped"
        return f"GPIO{LAMP} high while bars are seen, low when stopped; {said}"

    def frees_its_lines(self):
        for _ in range(2):
            self.board.run(f"predict --source line:1 --lamp bars=GPIO{LAMP} --lamp disc=GPIO{BUTTON}")
        return "a line can be used again, whatever it was used as"

    @contextmanager
    def in_background(self, arguments, lines):
        """Runs the program meanwhile, and ends it; its JSON goes to /tmp/out, of which so many lines are waited for."""
        self.machine.run(f"fieldhead {arguments} --json > /tmp/out 2> /tmp/out.stderr &")
        try:
            wait_until(lambda: self.count() >= lines, f"{lines} lines of {arguments}")
            yield
        finally:
            # To the log: what it said first and last.
            self.machine.run("kill $!; wait $!; sed -n '1p;$p' /tmp/out")

    def press(self, line):
        """Presses a button as briefly as a hand may, by the board's own time, and lets it go for as long."""
        for high in (True, False):
            self.machine.drive(line, high)
            self.machine.run("usleep 60000")

    def said(self, key):
        """The JSON with a key that what runs in the background wrote."""
        return [it for it in objects(self.machine.run("cat /tmp/out")[1]) if key in it]

    def count(self):
        """Lines of what runs in the background; what it has to say of a failure goes to the log."""
        return int(self.machine.run("cat /tmp/out.stderr; wc -l < /tmp/out")[1].split()[-1])

    def consumer(self, line):
        """Whether a line of the header is in use, by the kernel's own account."""
        return f"(GPIO{line} " in self.machine.run("grep '|fieldhead' /sys/kernel/debug/gpio")[1]
