//! Steps of float operators between quantized tensors, for what has no integer step.

use super::{Lowering, Named, Value, title};
use crate::backbone::float::{Floats, Input, Kind};
use crate::backbone::onnx::Constant;
use crate::backbone::program::{Feed, Step};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use tract_onnx::pb::NodeProto;

/// The nodes that lead to a tensor from what is there already, and what they take.
#[derive(Default)]
struct Part<'a> {
    nodes: Vec<NodeProto>,
    constants: HashMap<&'a str, Rc<Constant>>,
    inputs: Vec<Input>,
    feeds: Vec<Feed>,
}

impl<'a> Lowering<'a> {
    /// Makes the tensor `name` by float operators. `None` if tract cannot.
    pub(super) fn make(&mut self, name: &str) -> Option<Value> {
        let (&name, _) = self.makers.get_key_value(name)?;
        let mut part = Part::default();
        self.gather(name, &mut part)?;
        let floats = Floats::part(
            part.nodes.clone(),
            &part.constants,
            self.opsets,
            part.inputs,
            name,
        )
        .ok()?;
        let what = "nothing quantizes its sums before a node that runs in floats";
        let waiting = part.nodes.iter().filter(|node| self.waits(node));
        let named: Vec<String> = waiting
            .map(|node| format!("{} ({what})", title(node)))
            .collect();
        self.left.extend(named);
        let shape = floats.shapes.first()?.clone();
        let length = shape
            .iter()
            .fold(1, |n: usize, &side| n.saturating_mul(side));
        let to = self.new_vector(length);
        let value = match shape[..] {
            [1, _] => Value::Vector {
                vector: to,
                flat: true,
            },
            [1, _, 1, 1] => Value::Vector {
                vector: to,
                flat: false,
            },
            _ => Value::Tensor { vector: to, shape },
        };
        self.steps.push(Named {
            name: name.to_owned(),
            macs: 0,
            step: Step::Floats {
                floats,
                feeds: part.feeds,
                to,
            },
        });
        self.values.insert(name, value.clone());
        Some(value)
    }

    /// Whether a node would be an integer step, had it been quantized.
    fn waits(&self, node: &NodeProto) -> bool {
        let value = node
            .output
            .first()
            .and_then(|name| self.values.get(name.as_str()));
        matches!(value, Some(Value::Sums { .. } | Value::Mapped { .. }))
    }

    /// Adds what `name` is made of, each node once and behind those that it takes from. `None` if something is missing, or made of
    /// itself.
    fn gather(&self, name: &'a str, part: &mut Part<'a>) -> Option<()> {
        // A node waits on the stack twice: to have its inputs gathered, and then to be added itself.
        let mut stack = vec![(name, false)];
        let mut opened = HashSet::new();
        while let Some((name, ready)) = stack.pop() {
            let known = part.constants.contains_key(name)
                || part.inputs.iter().any(|input| input.name == name)
                || part
                    .nodes
                    .iter()
                    .any(|node| node.output.iter().any(|output| output == name));
            if name.is_empty() || known {
                continue;
            }
            if let Some(constant) = self.constants.get(name) {
                part.constants.insert(name, Rc::clone(constant));
                continue;
            }
            if let Some((input, feed)) = self.feed(name) {
                part.inputs.push(input);
                part.feeds.push(feed);
                continue;
            }
            let node = *self.makers.get(name)?;
            if ready {
                part.nodes.push(node.clone());
            } else if !opened.insert(name) {
                return None;
            } else {
                stack.push((name, true));
                stack.extend(node.input.iter().map(|name| (name.as_str(), false)));
            }
        }
        Some(())
    }

    /// A tensor that the program holds.
    fn feed(&self, name: &str) -> Option<(Input, Feed)> {
        let (shape, kind, feed) = match self.values.get(name)? {
            &Value::Bytes { plane, signed } => {
                let of = &self.planes[plane];
                let shape = match self.rows.contains(&plane) {
                    true => vec![1, of.channels],
                    false => vec![1, of.channels, of.height, of.width],
                };
                let kind = if signed { Kind::I8 } else { Kind::U8 };
                (shape, kind, Feed::Plane { plane, signed })
            }
            &Value::Vector { vector, flat } => {
                let length = self.vectors[vector];
                let shape = match flat {
                    true => vec![1, length],
                    false => vec![1, length, 1, 1],
                };
                (shape, Kind::F32, Feed::Vector(vector))
            }
            Value::Tensor { vector, shape } => (shape.clone(), Kind::F32, Feed::Vector(*vector)),
            _ => return None,
        };
        let name = name.to_owned();
        Some((Input { name, shape, kind }, feed))
    }
}
