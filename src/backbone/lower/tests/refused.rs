//! Models that make no sense, or that would take more than there is.

use super::*;

#[test]
fn floats_that_grow_without_end_are_not_held() {
    let mut maker = Maker::new();
    maker.convolve("x", "a", &[6, CHANNELS, 3, 3], &[]);
    let repeats = [1i64, 1, 1 << 20, 1 << 12];
    let raw = repeats.iter().flat_map(|n| n.to_le_bytes()).collect();
    maker.constant("repeats", &[4], DataType::Int64, raw);
    maker.node("Tile", &["a", "repeats"], "t", &[]);
    maker.settle("t", "b", 60, false);
    maker.pool("GlobalMaxPool", "b", "out");
    let said = maker.refused();
    assert!(
        said.starts_with("Malformed") && said.contains("bytes"),
        "{said}"
    );
}

#[test]
fn scales_and_shapes_that_make_no_sense_are_refused() {
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let mut maker = Maker::new();
        maker.graph.initializer[0].raw_data = scale.to_le_bytes().to_vec();
        maker.pool("GlobalMaxPool", "x", "out");
        let said = maker.refused();
        assert!(
            said.starts_with("Malformed") && said.contains("scale"),
            "{said}"
        );
    }
    let model = |shape: &[usize], lists: &[(&str, &[i64])]| {
        let mut maker = Maker::new();
        maker.convolve("x", "a", shape, lists);
        maker.pool("GlobalMaxPool", "a", "out");
        maker
    };
    for (maker, word) in [
        (model(&[4, 5, 1, 1], &[]), "channels"),
        (model(&[4, 3, 99, 1], &[]), "window"),
        (model(&[4, 3, 1, 1], &[("pads", &[0, 0, 0, 9999])]), "pads"),
        (model(&[4, 3, 1, 1], &[("strides", &[0, 1])]), "strides"),
        (model(&[4, 3, 1, 1], &[("group", &[-1])]), "groups"),
        (model(&[0, 3, 1, 1], &[]), "scales"),
    ] {
        let said = maker.refused();
        assert!(
            said.starts_with("Malformed") && said.contains(word),
            "{word}: {said}"
        );
    }
    let mut claims = model(&[4, 3, 1, 1], &[]);
    claims.graph.initializer[2].dims = vec![1 << 40, 1 << 40];
    assert!(
        claims.refused().contains("too large"),
        "{}",
        claims.refused()
    );
    let mut absent = model(&[4, 3, 1, 1], &[]);
    absent.graph.initializer.remove(2);
    let said = absent.refused();
    assert!(
        said.starts_with("Malformed") && said.contains("nothing makes"),
        "{said}"
    );
}
