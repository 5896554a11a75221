//! Models from outside: nodes and constants that were tampered with, under a card that fits. Whatever comes, the model runs or is refused.

use fieldhead::backbone::{Backbone, find};
use fieldhead::features::FeatureSet;
use proptest::prelude::*;
use prost::Message;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::LazyLock;
use tract_onnx::pb::{GraphProto, ModelProto};

static FOUND: LazyLock<find::Found> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mobilenet-v2-int8");
    find::find(folder.to_str().unwrap(), &[]).unwrap()
});
static MODEL: LazyLock<ModelProto> =
    LazyLock::new(|| ModelProto::decode(&*FOUND.read_model().unwrap()).unwrap());

/// Numbers that shapes and attributes have no use for, and some that they have.
const WILD: [i64; 10] = [
    0,
    -1,
    1,
    2,
    3,
    7,
    65_536,
    i32::MAX as i64,
    i64::MAX,
    i64::MIN,
];
const OPERATORS: [&str; 10] = [
    "Add",
    "Mul",
    "Conv",
    "Flatten",
    "Concat",
    "MatMul",
    "Reshape",
    "GlobalAveragePool",
    "QuantizeLinear",
    "Loop",
];

/// One thing done to a model. Numbers choose among what there is.
#[derive(Clone, Debug)]
enum Tampering {
    /// An input is another tensor.
    Wire(usize, usize, usize),
    FewerInputs(usize),
    Without(usize),
    Twice(usize),
    /// An output has the name of another tensor.
    Name(usize, usize),
    Operator(usize, usize),
    Attribute(usize, usize, usize),
    Dimension(usize, usize, usize),
    Type(usize, i32),
    Short(usize, usize),
    Float(usize, f32),
}

fn tampering() -> impl Strategy<Value = Tampering> {
    use Tampering::*;
    let any = any::<usize>;
    prop_oneof![
        (any(), any(), any()).prop_map(|(node, input, name)| Wire(node, input, name)),
        any().prop_map(FewerInputs),
        any().prop_map(Without),
        any().prop_map(Twice),
        (any(), any()).prop_map(|(node, name)| Name(node, name)),
        (any(), any()).prop_map(|(node, operator)| Operator(node, operator)),
        (any(), any(), any()).prop_map(|(node, at, value)| Attribute(node, at, value)),
        (any(), any(), any()).prop_map(|(constant, at, value)| Dimension(constant, at, value)),
        (any(), 0i32..20).prop_map(|(constant, kind)| Type(constant, kind)),
        (any(), any()).prop_map(|(constant, length)| Short(constant, length)),
        (any(), proptest::num::f32::ANY).prop_map(|(constant, value)| Float(constant, value)),
    ]
}

/// Of several one, if there are any.
fn pick<T>(from: &mut [T], which: usize) -> Option<&mut T> {
    let n = from.len().max(1);
    from.get_mut(which % n)
}

fn tamper(graph: &mut GraphProto, tampering: &Tampering) -> Option<()> {
    let made = graph.node.iter().flat_map(|node| node.output.clone());
    let names = made.chain(graph.initializer.iter().map(|one| one.name.clone()));
    let mut names: Vec<String> = names.chain(["".into(), "nowhere".into()]).collect();
    match *tampering {
        Tampering::Wire(node, input, name) => {
            *pick(&mut pick(&mut graph.node, node)?.input, input)? =
                pick(&mut names, name)?.clone();
        }
        Tampering::FewerInputs(node) => drop(pick(&mut graph.node, node)?.input.pop()),
        Tampering::Without(node) => drop(graph.node.remove(node % graph.node.len())),
        Tampering::Twice(node) => {
            let node = pick(&mut graph.node, node)?.clone();
            graph.node.push(node);
        }
        Tampering::Name(node, name) => {
            *pick(&mut pick(&mut graph.node, node)?.output, 0)? = pick(&mut names, name)?.clone();
        }
        Tampering::Operator(node, operator) => {
            pick(&mut graph.node, node)?.op_type = OPERATORS[operator % OPERATORS.len()].into();
        }
        Tampering::Attribute(node, at, value) => {
            let attributes = graph.node.iter_mut().flat_map(|node| &mut node.attribute);
            let mut attributes: Vec<_> = attributes.collect();
            let attribute = pick(&mut attributes, node)?;
            attribute.i = WILD[value % WILD.len()];
            if let Some(one) = pick(&mut attribute.ints, at) {
                *one = WILD[value % WILD.len()];
            }
        }
        Tampering::Dimension(constant, at, value) => {
            let dims = &mut pick(&mut graph.initializer, constant)?.dims;
            match pick(dims, at) {
                Some(one) => *one = WILD[value % WILD.len()],
                None => dims.push(WILD[value % WILD.len()]),
            }
        }
        Tampering::Type(constant, kind) => {
            pick(&mut graph.initializer, constant)?.data_type = kind;
        }
        Tampering::Short(constant, length) => {
            let bytes = &mut pick(&mut graph.initializer, constant)?.raw_data;
            bytes.truncate(length % (bytes.len() + 1));
        }
        Tampering::Float(constant, value) => {
            let scalars = graph.initializer.iter_mut();
            let mut scalars: Vec<_> = scalars.filter(|one| one.raw_data.len() == 4).collect();
            pick(&mut scalars, constant)?.raw_data = value.to_le_bytes().into();
        }
    }
    Some(())
}

/// Loads a model under a card that fits, and lets it look at a grey picture.
fn look(model: &ModelProto) -> Result<Vec<f32>, fieldhead::backbone::BackboneError> {
    let bytes = model.encode_to_vec();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(&FOUND.card.file), &bytes).unwrap();
    let mut found = FOUND.clone();
    found.folder = Some(folder.path().into());
    found.card.sha256 = Sha256::digest(&bytes).into();
    found.card.model_bytes = bytes.len() as u64;
    let backbone = Backbone::load(&found, FeatureSet::Multi, None)?;
    let (width, height) = (found.card.input.width, found.card.input.height);
    backbone.embed_on(&vec![128; (width * height * 3) as usize], 1)
}

fn tampered(change: impl FnOnce(&mut GraphProto)) -> String {
    let mut model = MODEL.clone();
    change(model.graph.as_mut().unwrap());
    look(&model).unwrap_err().to_string()
}

#[test]
fn a_model_that_nobody_touched_still_answers() {
    assert_eq!(look(&MODEL).unwrap().len(), 2_560);
}

#[test]
fn layers_that_do_not_fit_together_are_named_instead_of_worked_on_for_ever() {
    let text = tampered(|graph| {
        let mut convolutions = graph.node.iter_mut().filter(|node| node.op_type == "Conv");
        let narrow = convolutions.find(|node| node.output[0] == "b4d.f").unwrap();
        let pads = narrow.attribute.iter_mut().find(|one| one.name == "pads");
        pads.unwrap().ints[1] = 3;
    });
    assert!(text.contains("do not fit together"), "{text}");
}

#[test]
fn a_model_at_which_tract_panics_is_refused_with_its_words() {
    let text = tampered(|graph| {
        let first = graph.node[0].output[0].clone();
        graph.node.last_mut().unwrap().output[0] = first;
    });
    assert!(text.contains("cannot be loaded"), "{text}");
    let text = tampered(|graph| {
        let mut flatten = graph
            .node
            .iter_mut()
            .filter(|node| node.op_type == "Flatten");
        let attribute = flatten.next().unwrap().attribute.first_mut().unwrap();
        attribute.i = 1_000_000_000_000;
    });
    assert!(text.contains("makes no sense"), "{text}");
    assert!(text.contains("--backbone"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn tampered_models_run_or_are_refused(tamperings in proptest::collection::vec(tampering(), 1..4)) {
        let mut model = MODEL.clone();
        for tampering in &tamperings {
            let _ = tamper(model.graph.as_mut().unwrap(), tampering);
        }
        if let Ok(features) = look(&model) {
            prop_assert!(features.iter().all(|x| x.is_finite()));
        }
    }
}
