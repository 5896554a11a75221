//! `boards/provision` on folders that look like the boot partition of a card, and the script that the first boot runs there.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const PLAIN: &str = "console=serial0,115200 console=tty1 root=PARTUUID=4e639091-02 rootfstype=ext4 fsck.repair=yes rootwait quiet";
const HOOK: &str = " systemd.run=/boot/firmware/fieldhead/firstboot systemd.run_success_action=reboot \
                    systemd.unit=kernel-command-line.target";
/// What Raspberry Pi Imager appends when it has settings for the first boot.
const IMAGER: &str = " systemd.run=/boot/firstrun.sh systemd.run_success_action=reboot systemd.unit=kernel-command-line.target";

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A card, and the script with the package it is given.
struct Card {
    dir: TempDir,
    boot: PathBuf,
    package: PathBuf,
    script: PathBuf,
}

struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Card {
    fn new() -> Card {
        Card::at("bootfs", PLAIN)
    }

    fn at(name: &str, line: &str) -> Card {
        let dir = tempfile::tempdir().unwrap();
        let boot = dir.path().join(name);
        fs::create_dir(&boot).unwrap();
        for (file, text) in [
            ("config.txt", "arm_64bit=1\n"),
            ("issue.txt", "Raspberry Pi reference 2024-11-19\n"),
            ("kernel8.img", "kernel"),
            ("initramfs8", "initramfs"),
            ("cmdline.txt", &format!("{line}\n")),
        ] {
            fs::write(boot.join(file), text).unwrap();
        }
        let package = package(dir.path(), "fieldhead", "arm64");
        Card {
            boot,
            package,
            script: repository().join("boards/provision"),
            dir,
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        // Not by itself: a copy that another thread's child still holds open for writing cannot be run.
        let mut command = Command::new("bash");
        command
            .arg(&self.script)
            .arg("--package")
            .arg(&self.package);
        command.args(args).arg(&self.boot);
        command
    }

    fn provision(&self, args: &[&str]) -> Ran {
        ran(&mut self.command(args))
    }

    fn done(&self, args: &[&str]) -> Ran {
        let ran = self.provision(args);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran
    }

    /// Refused with this exit code and word, and nothing written.
    fn refused(&self, args: &[&str], code: i32, word: &str) {
        let before = self.files();
        let ran = self.provision(args);
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (code, ""),
            "{}",
            ran.stderr
        );
        assert!(ran.stderr.contains(word), "{}", ran.stderr);
        assert_eq!(self.files(), before);
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.boot.join(name)).unwrap()
    }

    /// All files of the card and what is in them.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.boot.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.insert(path.clone(), fs::read(&path).unwrap());
                }
            }
        }
        found
    }
}

fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A package with nothing in it; where there is no dpkg, what the script can tell of one without it.
fn package(dir: &Path, name: &str, architecture: &str) -> PathBuf {
    let file = dir.join(format!("{name}_{architecture}.deb"));
    let tree = dir.join(format!("tree-{name}-{architecture}"));
    fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    let control = format!(
        "Package: {name}\nVersion: 1\nArchitecture: {architecture}\nMaintainer: A <a@b.invalid>\nDescription: a\n"
    );
    fs::write(tree.join("DEBIAN/control"), control).unwrap();
    let built = Command::new("dpkg-deb")
        .arg("--build")
        .arg(&tree)
        .arg(&file)
        .output();
    match built {
        Ok(output) => assert!(output.status.success()),
        Err(_) => fs::write(&file, "!<arch>\n").unwrap(),
    }
    file
}

const BOARD: [&str; 2] = ["--board", "raspberry-pi-4"];

#[test]
fn a_card_gets_the_package_a_profile_and_a_command_and_nothing_else_changes() {
    let card = Card::new();
    let mut expected = card.files();
    let said = card.done(&BOARD).stdout;
    assert!(
        said.contains("is ready") && said.contains("no head yet"),
        "{said}"
    );
    assert_eq!(card.text("cmdline.txt"), format!("{PLAIN}{HOOK}\n"));
    assert!(
        card.text("fieldhead/settings")
            .contains("FIELDHEAD_SOURCE='command:rpicam-vid --timeout 0 --nopreview --codec mjpeg")
    );
    assert!(
        card.text("fieldhead/settings")
            .contains("FIELDHEAD_BOARD=raspberry-pi-4\n")
    );
    assert_eq!(
        card.files()[&card.boot.join("fieldhead/fieldhead.deb")],
        fs::read(&card.package).unwrap()
    );
    let mut now = card.files();
    now.retain(|path, _| !path.starts_with(card.boot.join("fieldhead")));
    expected.remove(&card.boot.join("cmdline.txt"));
    now.remove(&card.boot.join("cmdline.txt"));
    assert_eq!(now, expected);
}

#[test]
fn doing_it_twice_is_doing_it_once_and_other_options_replace_the_first() {
    for line in [PLAIN.to_owned(), format!("{PLAIN}{IMAGER}")] {
        let card = Card::at("bootfs", &line);
        let head = card.dir.path().join("birds.fhead");
        fs::write(&head, "head").unwrap();
        card.done(&BOARD);
        let once = card.files();
        card.done(&BOARD);
        assert_eq!(card.files(), once);
        let source = ["--source", "camera:/dev/video2", "--head"];
        let args = [&BOARD[..], &source, &[head.to_str().unwrap()]].concat();
        card.done(&args);
        assert!(
            card.text("fieldhead/settings")
                .contains("FIELDHEAD_SOURCE='camera:/dev/video2'\n")
        );
        assert_eq!(card.text("fieldhead/head.fhead"), "head");
        card.done(&BOARD);
        assert_eq!(card.files(), once);
    }
}

#[test]
fn what_imager_set_stays_and_comes_first() {
    let card = Card::at("bootfs", &format!("{PLAIN}{IMAGER}"));
    fs::write(card.boot.join("firstrun.sh"), "#!/bin/bash\n").unwrap();
    card.done(&BOARD);
    // Below /boot/ as Imager's, because the first boot rewrites both.
    let expected = format!("{PLAIN}{IMAGER} systemd.run=/boot/fieldhead/firstboot\n");
    assert_eq!(card.text("cmdline.txt"), expected);
    assert_eq!(card.text("firstrun.sh"), "#!/bin/bash\n");
}

#[test]
fn a_path_with_spaces_is_as_good_as_any() {
    let card = Card::at("boot fs, of 'me'", PLAIN);
    card.done(&BOARD);
    assert_eq!(card.text("cmdline.txt"), format!("{PLAIN}{HOOK}\n"));
}

#[test]
fn what_is_no_boot_partition_of_raspberry_pi_os_is_refused_and_left_alone() {
    for file in [
        "cmdline.txt",
        "config.txt",
        "issue.txt",
        "kernel8.img",
        "initramfs8",
    ] {
        let card = Card::new();
        fs::remove_file(card.boot.join(file)).unwrap();
        card.refused(&BOARD, 3, &format!("{file} is missing"));
    }
    let card = Card::new();
    fs::write(card.boot.join("issue.txt"), "Another system\n").unwrap();
    card.refused(&BOARD, 3, "issue.txt");
    for (line, word) in [
        ("quiet\n", "root="),
        ("root=a\nroot=b\n", "one line"),
        ("", "one line"),
    ] {
        let card = Card::new();
        fs::write(card.boot.join("cmdline.txt"), line).unwrap();
        card.refused(&BOARD, 3, word);
    }
    let card = Card::new();
    fs::write(card.boot.join("fieldhead"), "mine").unwrap();
    card.refused(&BOARD, 3, "not a folder");
    let mut card = Card::new();
    card.boot = card.dir.path().join("nothing here");
    let ran = card.provision(&BOARD);
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains("there is no folder"), "{}", ran.stderr);
}

#[test]
fn a_card_that_cannot_be_written_to_is_refused() {
    let mut card = Card::new();
    // Somebody who may read all of it, wherever the repository is.
    let readable = card.dir.path().join("boards");
    fs::create_dir(&readable).unwrap();
    for name in ["provision", "raspberry-pi-4.toml"] {
        fs::copy(repository().join("boards").join(name), readable.join(name)).unwrap();
    }
    card.script = readable.join("provision");
    fs::set_permissions(card.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&card.boot, fs::Permissions::from_mode(0o555)).unwrap();
    let root =
        fs::metadata("/proc/self").is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0);
    let mut command = card.command(&BOARD);
    if root {
        command.uid(65534).gid(65534);
    }
    let ran = ran(&mut command);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("cannot be written to"),
        "{}",
        ran.stderr
    );
    assert_eq!(card.text("cmdline.txt"), format!("{PLAIN}\n"));
}

fn with<'a>(option: &'a str, value: &'a str) -> Vec<&'a str> {
    [&BOARD[..], &[option, value]].concat()
}

#[test]
fn a_wrong_board_package_head_or_source_is_refused() {
    let card = Card::new();
    card.refused(
        &["--board", "jetson-nano"],
        3,
        "does not boot Raspberry Pi OS",
    );
    card.refused(
        &["--board", "raspberry-pi-9"],
        3,
        "no profile 'raspberry-pi-9'",
    );
    card.refused(&with("--head", "/nowhere/a.fhead"), 3, "there is no file");
    card.refused(&with("--source", "command:a 'b'"), 3, "quote");
    card.refused(&with("--package", "/nowhere/a.deb"), 3, "there is no file");
    let text = card.dir.path().join("text.deb");
    fs::write(&text, "a text").unwrap();
    card.refused(
        &with("--package", text.to_str().unwrap()),
        3,
        "not a Debian package",
    );
    if Command::new("dpkg-deb").arg("--version").output().is_ok() {
        for (name, architecture) in [("fieldhead", "amd64"), ("other", "arm64")] {
            let other = package(card.dir.path(), name, architecture);
            card.refused(
                &with("--package", other.to_str().unwrap()),
                3,
                "expected fieldhead for arm64",
            );
        }
    }
}

#[test]
fn wrong_usage_is_told_from_bad_input() {
    let card = Card::new();
    card.refused(&[], 2, "--board is missing");
    card.refused(&["--bord", "raspberry-pi-4"], 2, "no option '--bord'");
    card.refused(
        &["--board", "raspberry-pi-4", "elsewhere"],
        2,
        "more than one BOOT",
    );
    let script = &card.script;
    let ran = |args: &[&str]| ran(Command::new(script).args(args));
    assert_eq!(ran(&["--board"]).code, 2);
    assert_eq!(ran(&BOARD).code, 2);
    let help = ran(&["--help"]);
    assert_eq!(help.code, 0);
    assert!(help.stdout.contains("Example:") && help.stdout.lines().all(|line| line.len() <= 80));
}

/// Runs the script of the first boot; whatever it calls only writes down that it was called, and fails if it is `failing`.
fn first_boot(card: &Card, failing: &str) -> String {
    let tools = card.dir.path().join("tools");
    fs::create_dir_all(&tools).unwrap();
    for name in ["dpkg", "install", "runuser", "systemctl", "sync"] {
        let tool = tools.join(name);
        let code = i32::from(name == failing);
        let text = format!("#!/bin/sh\necho {name} \"$@\"\nexit {code}\n");
        // By a process of its own, so that no other thread's child holds it open for writing when it is run.
        let mut write = Command::new("sh");
        write.args(["-c", "printf %s \"$1\" > \"$2\" && chmod 755 \"$2\"", "sh"]);
        assert_eq!(ran(write.arg(text).arg(&tool)).code, 0);
    }
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    let script = card.boot.join("fieldhead/firstboot");
    let ran = ran(Command::new("sh").arg(script).env("PATH", path));
    assert_eq!((ran.code, ran.stdout + &ran.stderr), (0, String::new()));
    card.text("fieldhead/firstboot.log")
}

#[test]
fn the_first_boot_installs_enables_and_takes_its_command_away() {
    let card = Card::new();
    let head = card.dir.path().join("birds.fhead");
    fs::write(&head, "head").unwrap();
    card.done(&[&BOARD[..], &["--head", head.to_str().unwrap()]].concat());
    let log = first_boot(&card, "");
    assert_eq!(card.text("cmdline.txt"), format!("{PLAIN}\n"));
    let called: Vec<&str> = log
        .lines()
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    let expected = [
        "dpkg",
        "install",
        "runuser",
        "systemctl",
        "fieldhead",
        "sync",
    ];
    assert_eq!(called, expected);
    assert!(log.contains("systemctl enable fieldhead.service"));
}

#[test]
fn a_first_boot_that_fails_says_so_and_never_comes_back() {
    let card = Card::new();
    card.done(&BOARD);
    let log = first_boot(&card, "dpkg");
    assert!(log.contains("not installed as it should be"), "{log}");
    assert!(!log.contains("systemctl"), "{log}");
    assert_eq!(card.text("cmdline.txt"), format!("{PLAIN}\n"));
}

#[test]
fn the_first_boot_leaves_the_commands_of_others_alone() {
    let card = Card::at(
        "bootfs",
        &format!("{PLAIN} systemd.log_level=debug{IMAGER}"),
    );
    card.done(&BOARD);
    first_boot(&card, "");
    assert_eq!(
        card.text("cmdline.txt"),
        format!("{PLAIN} systemd.log_level=debug{IMAGER}\n")
    );
}
