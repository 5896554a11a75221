//! Profiles as they are shipped, and as a user may write them.

use super::*;

const HOST: &str = include_str!("../../boards/host.toml");

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path
}

fn tree(names: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    write(
        root.path(),
        "proc/device-tree/compatible",
        &(names.join("\0") + "\0"),
    );
    root
}

fn detected(names: &[&str]) -> String {
    let root = tree(names);
    detect(root.path(), "aarch64", &[]).unwrap().profile.name
}

#[test]
fn every_shipped_profile_is_sound_and_named_as_its_file() {
    for (file, text) in BUILT_IN {
        let profile = Profile::parse(file, text).unwrap();
        assert_eq!(file, format!("boards/{}.toml", profile.name));
        assert!(profile.cpu.threads <= profile.cpu.cores);
        for bus in profile.i2c.iter().chain(&profile.spi) {
            assert!(bus.pins.len() >= 2, "{file}: {}", bus.device);
        }
    }
    let folder = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/boards")).unwrap();
    let files = folder.filter(|e| {
        let name = e.as_ref().unwrap().file_name();
        name.to_string_lossy().ends_with(".toml")
    });
    assert_eq!(files.count(), BUILT_IN.len());
}

/// A line that gives a value stands behind a comment, at once or behind other such lines.
#[test]
fn every_value_of_a_shipped_profile_has_its_source() {
    for (file, text) in BUILT_IN {
        let mut sourced = false;
        for line in text.lines() {
            match line.trim() {
                "" => sourced = false,
                comment if comment.starts_with('#') => sourced = true,
                table if table.starts_with('[') && !table.starts_with("[[") && !sourced => {}
                value => assert!(sourced || value.starts_with('['), "{file}: {value}"),
            }
        }
    }
}

#[test]
fn the_device_tree_tells_the_board_and_its_first_name_counts_most() {
    for (names, board) in [
        (
            &["raspberrypi,3-model-b", "brcm,bcm2837"][..],
            "raspberry-pi-3",
        ),
        (
            &["raspberrypi,model-zero-2-w", "brcm,bcm2837"],
            "raspberry-pi-zero-2w",
        ),
        (&["raspberrypi,4-model-b", "brcm,bcm2711"], "raspberry-pi-4"),
        (&["raspberrypi,5-model-b", "brcm,bcm2712"], "raspberry-pi-5"),
        (&["nvidia,p3450-0000", "nvidia,tegra210"], "jetson-nano"),
        (
            &["nvidia,p3768-0000+p3767-0005-super", "nvidia,tegra234"],
            "jetson-orin-nano",
        ),
        (&["vendor,unheard-of"], "generic-aarch64"),
        (
            &["raspberrypi,400", "raspberrypi,5-model-b"],
            "raspberry-pi-4",
        ),
    ] {
        assert_eq!(detected(names), board, "{names:?}");
    }
    let bare = tempfile::tempdir().unwrap();
    for (arch, board) in [("aarch64", "generic-aarch64"), ("x86_64", "host")] {
        let found = detect(bare.path(), arch, &[]).unwrap();
        assert_eq!(found.profile.name, board);
    }
}

#[test]
fn a_tree_that_cannot_be_read_is_an_error_and_not_another_board() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("proc/device-tree/compatible")).unwrap();
    assert!(matches!(
        detect(root.path(), "aarch64", &[]),
        Err(BoardError::Read { .. })
    ));
    let long = tree(&[&"x".repeat(70_000)]);
    assert!(matches!(
        compatible(long.path()),
        Err(BoardError::TooLarge { .. })
    ));
}

#[test]
fn a_folder_adds_boards_and_replaces_those_of_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let folders = [folder.path().to_path_buf(), folder.path().join("missing")];
    let mine = HOST.replace("name = \"host\"", "name = \"mine\"");
    write(folder.path(), "a.toml", &mine);
    let other = HOST.replace("threads = 0", "threads = 2");
    let path = write(folder.path(), "b.toml", &other);
    write(folder.path(), "notes.txt", "no profile");
    let all = all(&folders).unwrap();
    assert_eq!(all.len(), BUILT_IN.len() + 1);
    assert_eq!(find("mine", &folders).unwrap().profile.cpu.threads, 0);
    let host = find("host", &folders).unwrap();
    assert_eq!(
        (host.profile.cpu.threads, &host.path),
        (2, &Some(path.clone()))
    );
    assert_eq!(find(path.to_str().unwrap(), &[]).unwrap(), host);
    let error = find("nothing", &folders).unwrap_err().to_string();
    assert!(
        error.contains("mine, host, raspberry-pi-zero-2w"),
        "{error}"
    );
    write(folder.path(), "c.toml", "name = ");
    assert!(super::all(&folders).is_err());
}

#[test]
fn an_error_names_file_key_what_was_expected_and_what_came() {
    for (from, to, parts) in [
        (
            "name = \"host\"",
            "name = \"Host!\"",
            &["name", "small letters", "\"Host!\""][..],
        ),
        (
            "title = \"This computer\"",
            "",
            &["title", "a value", "nothing"],
        ),
        (
            "title = \"This computer\"",
            "title = 7",
            &["title", "a text", "got 7"],
        ),
        (
            "cores = 1",
            "cores = \"four\"",
            &["cpu.cores", "1 to 8192", "\"four\""],
        ),
        (
            "cores = 1",
            "cores = 0",
            &["cpu.cores", "1 to 8192", "got 0"],
        ),
        (
            "cores = 1",
            "cores = -1",
            &["cpu.cores", "1 to 8192", "got -1"],
        ),
        (
            "cores = 1",
            "cores = 1\ncoers = 1",
            &["cpu.coers", "one of the keys", "cores"],
        ),
        (
            "features = []",
            "features = [3]",
            &["cpu.features[0]", "a text", "got 3"],
        ),
        ("[memory]", "[memories]", &["memory", "a value", "nothing"]),
        (
            "target = \"host\"",
            "target = \"avr\"",
            &["target", "aarch64", "\"avr\""],
        ),
        (
            "latency_ms_p99_max = 55",
            "latency_ms_p99_max = 0.5",
            &["budget.latency", "0.5"],
        ),
        ("[[camera]]", "[camera]", &["camera", "tables"]),
        (
            "\"YUYV\", ",
            "\"H264\", ",
            &["camera[0].formats[0]", "YUYV", "\"H264\""],
        ),
        (
            "\"camera:/dev/video0\"",
            "\"camera:video0\"",
            &["camera[0].source", "--source", "\"camera:video0\""],
        ),
        (
            "\"camera:/dev/video0\"",
            "\"command,format=s16le:arecord\"",
            &["camera[0].source", "--source", "arecord"],
        ),
        (
            "compatible = []",
            "compatible = []\ngpio = 3",
            &["gpio", "a table", "got 3"],
        ),
        (
            "[budget]",
            "[[i2c]]\ndevice = \"i2c-1\"\npins = []\nenable = \"x\"\n[budget]",
            &["i2c[0].device", "/dev", "\"i2c-1\""],
        ),
        (
            "[budget]",
            "[[spi]]\ndevice = \"/dev/s\"\npins = [0]\nenable = \"x\"\n[budget]",
            &["spi[0].pins[0]", "header", "got 0"],
        ),
        (
            "[budget]",
            "[gpio]\nchip = \"c\"\npins = [[1, \"A\", 2], [3, \"A\", 4]]\n[budget]",
            &["gpio.pins[1]", "no other", "\"A\""],
        ),
        (
            "[budget]",
            "[gpio]\nchip = \"c\"\npins = [[1, \"A\"]]\n[budget]",
            &["gpio.pins[0]", "line of the chip", "[1, \"A\"]"],
        ),
        ("cores = 1", "cores = ", &["line 1", "not TOML"]),
    ] {
        assert!(HOST.contains(from), "{from}");
        let error = Profile::parse("b.toml", &HOST.replace(from, to)).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("b.toml"), "{text}");
        for part in parts {
            assert!(text.contains(part), "{to}: {text}");
        }
    }
}

#[test]
fn what_is_too_long_or_not_text_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let open = |text: &[u8]| {
        let path = folder.path().join("p.toml");
        fs::write(&path, text).unwrap();
        find(path.to_str().unwrap(), &[]).unwrap_err()
    };
    assert!(matches!(open(&[b'#'; 70_000]), BoardError::TooLarge { .. }));
    assert!(matches!(open(b"\xff\xfe"), BoardError::Syntax { .. }));
    assert!(matches!(
        find("/no/such.toml", &[]),
        Err(BoardError::Read { .. })
    ));
}

#[test]
fn a_pin_is_found_by_its_name_and_by_its_number_on_the_header() {
    let board = |name: &str| find(name, &[]).unwrap().profile;
    let pi = board("raspberry-pi-4");
    for name in ["GPIO17", "11"] {
        let (gpio, pin) = pi.pin(name).unwrap();
        assert_eq!((&*gpio.chip, pin.line), ("pinctrl-bcm2711", 17));
    }
    assert_eq!(board("jetson-nano").pin("7").unwrap().1.line, 216);
    assert_eq!(board("jetson-orin-nano").pin("GPIO09").unwrap().1.line, 144);
    let error = pi.pin("1").unwrap_err().to_string();
    assert!(
        error.contains("'1'") && error.contains("GPIO2, GPIO3"),
        "{error}"
    );
    let error = board("host").pin("GPIO1").unwrap_err().to_string();
    assert!(error.contains("one of none"), "{error}");
}

mod hostile {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*") {
            let _ = Profile::parse("p.toml", &text);
        }

        #[test]
        fn no_cut_of_a_profile_makes_it_panic(at in 0..HOST.len(), noise in "\\PC{0,8}") {
            if let Some((before, after)) = HOST.split_at_checked(at) {
                let _ = Profile::parse("p.toml", &format!("{before}{noise}{after}"));
            }
        }
    }
}
