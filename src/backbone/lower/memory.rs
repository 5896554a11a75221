//! Which buffer each plane lies in: planes whose lives do not overlap share one.

use super::{Named, Plane, Step};
use crate::backbone::program::{Feed, LINE};

/// Assigns buffers, in order of the steps, to the free one that is nearest in size.
pub fn assign(planes: &mut [Plane], steps: &[Named], input: usize) {
    let mut last_use = vec![0; planes.len()];
    for (index, named) in steps.iter().enumerate() {
        let (reads, _) = uses(&named.step);
        for plane in reads {
            last_use[plane] = index;
        }
    }
    // Size of each buffer, and whether it is free.
    let mut buffers: Vec<(usize, bool)> = vec![(planes[input].bytes(), false)];
    planes[input].buffer = 0;
    for (index, named) in steps.iter().enumerate() {
        let (reads, writes) = uses(&named.step);
        if let Some(to) = writes {
            let bytes = planes[to].bytes();
            let nearest = (0..buffers.len())
                .filter(|&at| buffers[at].1)
                .min_by_key(|&at| buffers[at].0.abs_diff(bytes));
            let buffer = nearest.unwrap_or(buffers.len());
            if buffer == buffers.len() {
                buffers.push((0, true));
            }
            buffers[buffer] = (buffers[buffer].0.max(bytes), false);
            planes[to].buffer = buffer;
            // What nobody reads is free again at once.
            if last_use[to] <= index {
                buffers[buffer].1 = true;
            }
        }
        for plane in reads {
            if last_use[plane] == index {
                buffers[planes[plane].buffer].1 = true;
            }
        }
    }
    center(planes);
}

/// Gives all planes of a buffer the same middle: what a thread of two writes is then what it wrote and read before, in its own
/// cache, whatever the size of the plane. With the first bytes in common instead, most of it would come from the other's.
fn center(planes: &mut [Plane]) {
    let mut middles = Vec::new();
    for plane in &*planes {
        middles.resize(middles.len().max(plane.buffer + 1), 0);
        middles[plane.buffer] = plane.middle().max(middles[plane.buffer]);
    }
    for plane in planes {
        // The middle of the buffer and of the plane are in the same line of the cache, or begin one.
        plane.start = (middles[plane.buffer] - plane.middle()) / LINE * LINE;
    }
}

/// Planes that a step reads, and the one it writes.
fn uses(step: &Step) -> (Vec<usize>, Option<usize>) {
    match step {
        &(Step::Product { from, to, .. }
        | Step::Depthwise { from, to, .. }
        | Step::Lookup { from, to, .. }
        | Step::MaxPool { from, to, .. }
        | Step::Flatten { from, to }) => (vec![from], Some(to)),
        &Step::Add { a, b, to, .. } => (vec![a, b], Some(to)),
        &Step::Pool { from, .. } => (vec![from], None),
        &Step::Quantize { to, .. } => (vec![], Some(to)),
        Step::Scale { .. } => (vec![], None),
        Step::Floats { feeds, .. } => {
            let planes = feeds.iter().filter_map(|feed| match feed {
                Feed::Plane { plane, .. } => Some(*plane),
                Feed::Vector(_) => None,
            });
            (planes.collect(), None)
        }
    }
}
