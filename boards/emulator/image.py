"""What the emulated board is made of: QEMU, a kernel and busybox from Debian's packages, an initramfs, an SD card.

Nothing is installed, and the machine's own apt configuration stays as it is: packages are downloaded under a configuration of this
file's own and unpacked below target/emulator. Needs a Debian with apt, dpkg-deb and mke2fs, and no rights.
"""

import lzma
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

# The first QEMU whose raspi3b has the I2C controller of the BCM2835 (QEMU, docs/system/arm/raspi.rst).
OLDEST_QEMU = 9
# With all that they depend on: SD card and its file system, I2C, the simulated camera, temperature, and power off.
MODULES = ["sdhci-iproc", "bcm2835", "mmc_block", "crc32c_generic", "ext4", "i2c-bcm2835", "i2c-dev", "vivid"]
MODULES += ["bcm2835_thermal", "bcm2835_wdt"]
DEVICE_TREE = "bcm2837-rpi-3-b.dtb"
# A power of two, as the emulated card has to be; the file takes what is written.
CARD_BYTES = 1 << 30


class Image:
    """The parts, unpacked below a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.root = folder / "board"
        self.initramfs = folder / "initramfs"
        self.card = folder / "card.img"

    def fetch(self):
        """Downloads and unpacks what is not there yet."""
        done = self.folder / "unpacked"
        if done.exists():
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        apt = Apt(self.folder / "apt")
        apt.unpack([apt.kernel(), "busybox-static:arm64"], self.root)
        if own_qemu() is None:
            apt.unpack(apt.missing("qemu-system-arm"), self.folder / "qemu")
        shutil.rmtree(apt.folder)
        done.touch()

    def empty(self, name):
        """A new folder beside the parts."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def qemu(self):
        """The emulator's command and its environment."""
        own, root = own_qemu(), self.folder / "qemu"
        if own:
            return [own], dict(os.environ)
        libraries = {str(path.parent) for path in root.rglob("*.so.*")}
        command = [str(root / "usr/bin/qemu-system-aarch64"), "-L", str(root / "usr/share/qemu")]
        return command, {**os.environ, "LD_LIBRARY_PATH": ":".join(sorted(libraries))}

    @property
    def kernel(self):
        return next(self.root.glob("boot/vmlinuz-*"))

    @property
    def device_tree(self):
        return next(self.root.rglob(DEVICE_TREE))

    def build_initramfs(self, program):
        """busybox, the modules in the order in which they are loaded, `init`, and the program."""
        archive = Archive()
        for folder in ["bin", "etc", "modules", "proc", "sys", "dev", "sd", "tmp"]:
            archive.add(folder, stat.S_IFDIR | 0o755)
        archive.add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
        archive.add("etc/passwd", stat.S_IFREG | 0o644, b"root:x:0:0::/sd:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
        archive.add("init", stat.S_IFREG | 0o755, Path(__file__).with_name("init").read_bytes())
        archive.add("bin/busybox", stat.S_IFREG | 0o755, (self.root / "bin/busybox").read_bytes())
        archive.add("bin/fieldhead", stat.S_IFREG | 0o755, program.read_bytes())
        modules = ordered(self.root)
        for name, module in modules:
            archive.add(f"modules/{name}", stat.S_IFREG | 0o644, module)
        names = "".join(f"{name}\n" for name, _ in modules)
        archive.add("modules/order", stat.S_IFREG | 0o644, names.encode())
        self.initramfs.write_bytes(archive.finish())

    def build_card(self, contents):
        """An ext4 file system that holds what a folder holds."""
        self.card.unlink(missing_ok=True)
        with self.card.open("wb") as card:
            card.truncate(CARD_BYTES)
        tool = shutil.which("mke2fs", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
        subprocess.run([tool, "-q", "-t", "ext4", "-d", contents, self.card], check=True)


def own_qemu():
    """The machine's own emulator, where it is new enough."""
    path = shutil.which("qemu-system-aarch64")
    if path:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
        if int(re.search(r"version (\d+)", said)[1]) >= OLDEST_QEMU:
            return path
    return None


class Apt:
    """apt with lists of its own, which knows arm64 and the backports of this Debian; downloads, and installs nothing."""

    def __init__(self, folder):
        self.folder = folder.resolve()
        (self.folder / "lists/partial").mkdir(parents=True)
        (self.folder / "archives/partial").mkdir(parents=True)
        self.environment = dict(os.environ)
        codename = re.search(r"VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text())[1]
        self.backports = f"{codename}-backports"
        of_main = ["Created-By: Packages", "Component: main", f"Codename: {codename}"]
        server = self.run("apt-get", "indextargets", "--format", "$(REPO_URI)", *of_main).split()[0]
        line = f"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {server}"
        sources = "".join(f"{line} {suite} main\n" for suite in (codename, self.backports))
        (self.folder / "sources.list").write_text(sources)
        (self.folder / "apt.conf").write_text(f"""
            Dir::Etc::SourceList "{self.folder}/sources.list";
            Dir::Etc::SourceParts "/dev/null";
            Dir::State::Lists "{self.folder}/lists";
            Dir::Cache "{self.folder}";
            APT::Architectures {{ "{host_architecture()}"; "arm64"; }};
            APT::Sandbox::User "";
            Acquire::Languages "none";
            Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
            Debug::NoLocking "true";
        """)
        self.environment["APT_CONFIG"] = str(self.folder / "apt.conf")
        self.run("apt-get", "update")

    def run(self, *command, cwd=None):
        return subprocess.run(command, env=self.environment, cwd=cwd, check=True, text=True, stdout=subprocess.PIPE).stdout

    def kernel(self):
        """The package that the one for any kernel of arm64 stands for."""
        return re.search(r"Depends: (\S+)", self.run("apt-cache", "depends", "linux-image-arm64:arm64"))[1]

    def missing(self, package):
        """A package of the backports and those that it needs and this machine lacks, each with its version."""
        plan = self.run("apt-get", "install", "-s", "--no-install-recommends", "-t", self.backports, package)
        packages = re.findall(r"^Inst (\S+)(?: \[\S+\])? \((\S+)", plan, re.MULTILINE)
        # The emulators of single programs would be brought to the same version; they are not used here.
        return [f"{name}={version}" for name, version in packages if not name.startswith("qemu-user")]

    def unpack(self, packages, root):
        folder = self.folder / root.name
        folder.mkdir()
        self.run("apt-get", "download", "-qq", *packages, cwd=folder)
        for package in folder.iterdir():
            subprocess.run(["dpkg-deb", "-x", package, root], check=True)


def host_architecture():
    return subprocess.run(["dpkg", "--print-architecture"], check=True, text=True, stdout=subprocess.PIPE).stdout.strip()


def ordered(root):
    """The modules with all that they depend on, each behind those that it needs: name and bytes."""
    files = {re.sub(r"\.ko.*", "", path.name): path for path in root.rglob("*.ko*")}
    found = {}

    def add(name):
        # What is built into the kernel has no file.
        if name in found or name not in files:
            return
        module = files[name].read_bytes()
        if files[name].suffix == ".xz":
            module = lzma.decompress(module)
        for needed in re.search(rb"\0depends=([^\0]*)", module)[1].decode().split(","):
            add(needed)
        found[name] = module

    for name in MODULES:
        add(name)
    return found.items()


class Archive:
    """A cpio archive in the format that Linux unpacks at the start (Documentation/driver-api/early-userspace/buffer-format.rst)."""

    def __init__(self):
        self.parts = []

    def add(self, name, mode, content=b"", device=(0, 0)):
        number = len(self.parts) + 1
        fields = [number, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(name) + 1, 0]
        header = b"070701" + b"".join(b"%08X" % field for field in fields)
        self.parts += [padded(header + name.encode() + b"\0"), padded(content)]

    def finish(self):
        self.add("TRAILER!!!", 0)
        return b"".join(self.parts)


def padded(content):
    return content + bytes(-len(content) % 4)
