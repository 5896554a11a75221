"""One emulated Raspberry Pi 3: its console, its sensor, its lines, and its power.

Three channels lead in: the serial console (what is typed there, `init` runs), QMP (QEMU's own commands; sets the sensor's
temperature) and qtest (reads and writes the chip's registers; drives and reads GPIO lines).
"""

import json
import os
import re
import select
import socket
import subprocess
import time

MEMORY = "1G"
SENSOR = "temp0"
# BCM2835 ARM Peripherals, 6.1, at the BCM2837's peripheral base: set, clear and level of the lines 0 to 31.
GPIO_SET, GPIO_CLEAR, GPIO_LEVEL = 0x3F20001C, 0x3F200028, 0x3F200034
PATIENCE_S = 120
DONE = re.compile(rb"<done (\d+)>\n")


class Machine:
    """A board that is switched on. With `with`, it is off at the end."""

    def __init__(self, image, log):
        command, environment = image.qemu()
        self.qmp, qmp = channel()
        self.qtest, qtest = channel()
        command += ["-M", "raspi3b", "-m", MEMORY, "-accel", "tcg,thread=single"]
        command += ["-display", "none", "-monitor", "none", "-no-reboot", "-kernel", image.kernel]
        command += ["-dtb", image.device_tree, "-initrd", image.initramfs, "-append"]
        command += ["console=ttyS1,115200 quiet panic=-1"]
        # What the board wrote has left QEMU; what it only meant to write is lost with it.
        command += ["-drive", f"file={image.card},if=sd,format=raw,cache=writethrough"]
        command += ["-device", f"tmp105,id={SENSOR},bus=i2c-bus.1,address=0x48"]
        command += ["-serial", "null", "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]
        command += ["-chardev", f"socket,id=qmp,fd={qmp.fileno()}", "-mon", "qmp,mode=control"]
        command += ["-chardev", f"socket,id=qtest,fd={qtest.fileno()}", "-qtest", "chardev:qtest", "-qtest-log", "/dev/null"]
        self.log = log
        self.said = b""
        pipe = subprocess.PIPE
        descriptors = (qmp.fileno(), qtest.fileno())
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, env=environment, pass_fds=descriptors)
        qmp.close()
        qtest.close()
        self.qmp_file, self.qtest_file = self.qmp.makefile("rw"), self.qtest.makefile("rw")
        self.qmp_file.readline()
        self.ask("qmp_capabilities")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.cut()

    def cut(self):
        """Takes the power away; what the console said until then can still be read."""
        self.process.kill()
        self.process.wait()

    # The console.

    def read(self, seconds):
        """What the console says within so many seconds, or nothing."""
        ready, _, _ = select.select([self.process.stdout], [], [], max(seconds, 0))
        said = os.read(self.process.stdout.fileno(), 1 << 16) if ready else b""
        self.log.write(said)
        self.log.flush()
        self.said += said
        return said

    def until(self, pattern, seconds=PATIENCE_S):
        """Waits for a pattern on the console; what came before it, and the match."""
        end = time.monotonic() + seconds
        while True:
            match = re.search(pattern, self.said)
            if match:
                before, self.said = self.said[: match.start()], self.said[match.end() :]
                return before.decode(errors="replace"), match
            if not self.read(end - time.monotonic()) and time.monotonic() > end - 0.001:
                raise TimeoutError(f"{pattern} did not come within {seconds} s; the console said last: {self.said[-500:]}")
            if self.process.poll() is not None and not self.read(0):
                raise EOFError(f"QEMU ended with {self.process.returncode}; the log says why")

    def boot(self):
        self.until(rb"<up>\n")

    def type(self, command):
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()

    def run(self, command, seconds=PATIENCE_S):
        """Runs a command; its exit code and what it said."""
        self.type(command)
        said, match = self.until(DONE, seconds)
        return int(match[1]), said

    def switch_off(self):
        self.type("cd /; umount /sd; poweroff -f")
        self.process.wait(PATIENCE_S)
        return "the card is unmounted and QEMU has ended by itself"

    # QEMU.

    def ask(self, command, **arguments):
        """A command of QMP; its answer."""
        self.qmp_file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.qmp_file.flush()
        for line in self.qmp_file:
            answer = json.loads(line)
            if "error" in answer:
                raise RuntimeError(f"{command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]
        raise EOFError("QEMU closed QMP")

    def set_temperature(self, thousandths):
        self.ask("qom-set", path=f"/machine/peripheral/{SENSOR}", property="temperature", value=thousandths)

    def register(self, command):
        """A command of qtest, readl or writel; the value that was read."""
        self.qtest_file.write(command + "\n")
        self.qtest_file.flush()
        for line in self.qtest_file:
            if line.startswith("OK"):
                return int(line.split()[1], 16) if " " in line else None
        raise EOFError("QEMU closed qtest")

    def drive(self, line, high):
        """Sets the level of a line that is an input: the emulated chip takes it from these registers for inputs, too."""
        self.register(f"writel {GPIO_SET if high else GPIO_CLEAR:#x} {1 << line:#x}")

    def level(self, line):
        return self.register(f"readl {GPIO_LEVEL:#x}") >> line & 1


def channel():
    ours, theirs = socket.socketpair()
    return ours, theirs
