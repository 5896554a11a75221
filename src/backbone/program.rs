//! A lowered backbone: integer steps over a few buffers.
//!
//! Owns: where activations lie in memory, sharing a step between threads, and running the steps. Does not own: what a step means in
//! ONNX (`lower`), or the arithmetic (`kernels`).
//!
//! Invariant: what comes out depends on neither the kernel nor the number of threads; and the buffers of one run serve the next.

mod plane;
mod rows;

pub use plane::{Border, LINE, Plane, Slide, run_bytes};

use super::float::{Floats, Numbers};
use super::kernels::gang::{self, Gang};
use super::kernels::{Kernel, Packed, Portable, SLACK, Source, Sum, Target};
use plane::Buffer;
use rows::pool;
use std::sync::Mutex;

/// One step. Planes and vectors are named by their number.
#[derive(Clone, Debug)]
pub enum Step {
    /// A convolution over all channels, or a matrix product.
    Product {
        from: usize,
        to: usize,
        slide: Slide,
        packed: Packed,
    },
    /// A convolution of each channel by itself; `portable` when the kernel has none of this shape.
    Depthwise {
        from: usize,
        to: usize,
        slide: Slide,
        packed: Packed,
        portable: bool,
    },
    Add {
        a: usize,
        b: usize,
        to: usize,
        sum: Sum,
    },
    /// Another byte for each.
    Lookup {
        from: usize,
        to: usize,
        table: Box<[u8; 256]>,
    },
    /// The maximum of each channel over windows that stay inside.
    MaxPool {
        from: usize,
        to: usize,
        slide: Slide,
    },
    /// Mean or maximum of each channel, as numbers.
    Pool {
        from: usize,
        to: usize,
        max: bool,
        scale: f32,
        zero: u8,
    },
    /// Numbers times constants; one for all of them, or one each.
    Scale {
        from: usize,
        to: usize,
        factors: Vec<f32>,
    },
    /// Numbers, in the order of ONNX, as a plane: `clamp(round(x / scale) + zero)`.
    Quantize {
        vector: usize,
        to: usize,
        scale: f32,
    },
    /// A plane as one pixel, its channels in the order of ONNX: channel by channel, row by row.
    Flatten { from: usize, to: usize },
    /// Operators that have no integer step.
    Floats {
        floats: Floats,
        feeds: Vec<Feed>,
        to: usize,
    },
}

/// What goes into [`Step::Floats`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Feed {
    /// The bytes of a plane, in the order of ONNX and of the type that they have there.
    Plane {
        plane: usize,
        signed: bool,
    },
    Vector(usize),
}

impl Step {
    /// What kind of operator it is, for reports.
    pub fn kind(&self) -> &'static str {
        match self {
            Step::Product { slide, .. } if slide.is_point() => "product",
            Step::Product { .. } => "convolution",
            Step::Depthwise { .. } => "depthwise",
            Step::Add { .. } => "add",
            Step::Lookup { .. } => "lookup",
            Step::MaxPool { .. } => "max pool",
            Step::Pool { .. } => "pool",
            Step::Scale { .. } => "scale",
            Step::Quantize { .. } => "quantize",
            Step::Flatten { .. } => "flatten",
            Step::Floats { .. } => "floats",
        }
    }
}

/// A step with its name in the model and its number of multiply-accumulates.
#[derive(Clone, Debug)]
pub struct Named {
    pub name: String,
    pub macs: u64,
    pub step: Step,
}

/// The steps of a model.
pub struct Program {
    pub kernel: &'static dyn Kernel,
    pub planes: Vec<Plane>,
    /// Length of each vector.
    pub vectors: Vec<usize>,
    /// Plane that the picture goes into.
    pub input: usize,
    /// Vectors that come out.
    pub outputs: Vec<usize>,
    pub steps: Vec<Named>,
    /// Nodes that have no integer step, each with the reason.
    pub left: Vec<String>,
    /// Buffers that no run uses at the moment.
    pub idle: Mutex<Vec<Memory>>,
}

/// What one run works in.
#[derive(Default)]
pub struct Memory {
    buffers: Vec<Buffer>,
    vectors: Vec<Vec<f32>>,
}

impl Program {
    /// Runs a picture, `[height, width, channels]`, and gives the outputs in their order. `watch` is told when a step is done.
    pub fn run(
        &self,
        pixels: &[u8],
        threads: usize,
        watch: &mut (dyn FnMut(usize) + Send),
    ) -> Result<Vec<Vec<f32>>, String> {
        let mut memory = self.take_memory();
        gang::with(threads, |mut gang| {
            self.place(pixels, &mut memory.buffers, &mut gang);
            for (index, named) in self.steps.iter().enumerate() {
                self.step(&named.step, &mut memory, &mut gang)?;
                watch(index);
            }
            Ok::<(), String>(())
        })?;
        let vectors = self.outputs.iter().map(|&v| memory.vectors[v].clone());
        let outputs = vectors.collect();
        if let Ok(mut idle) = self.idle.lock() {
            idle.push(memory);
        }
        Ok(outputs)
    }

    /// Bytes of packed weights and of the buffers of one run.
    pub fn bytes(&self) -> usize {
        let packed = self.steps.iter().map(|named| match &named.step {
            Step::Product { packed, .. } | Step::Depthwise { packed, .. } => packed.bytes(),
            _ => 0,
        });
        packed.sum::<usize>() + self.buffers().iter().sum::<usize>()
    }

    /// Size of each buffer.
    fn buffers(&self) -> Vec<usize> {
        let mut sizes = Vec::new();
        for plane in &self.planes {
            sizes.resize(sizes.len().max(plane.buffer + 1), 0);
            let end = plane.start + plane.bytes();
            sizes[plane.buffer] = end.max(sizes[plane.buffer]);
        }
        sizes
    }

    fn take_memory(&self) -> Memory {
        let idle = self.idle.lock().ok().and_then(|mut idle| idle.pop());
        idle.unwrap_or_else(|| Memory {
            buffers: self.buffers().into_iter().map(Buffer::new).collect(),
            vectors: self.vectors.iter().map(|&n| vec![0.0; n]).collect(),
        })
    }

    /// Copies the picture into its plane.
    fn place(&self, pixels: &[u8], buffers: &mut [Buffer], gang: &mut Gang<'_>) {
        let plane = &self.planes[self.input];
        let flip = self.kernel.flip();
        let row_bytes = plane.width * plane.channels;
        let buffer = &mut buffers[plane.buffer];
        plane.share(buffer, gang, |first, to| {
            let pixels = &pixels[first * row_bytes..];
            let rows = to.bytes.chunks_exact_mut(to.row_bytes);
            for (row, pixels) in rows.zip(pixels.chunks_exact(row_bytes)) {
                for (to, level) in row[to.origin..].iter_mut().zip(pixels) {
                    *to = level ^ flip;
                }
            }
        });
    }

    /// # Errors
    /// What a float operator says; integer steps cannot fail.
    fn step(&self, step: &Step, memory: &mut Memory, gang: &mut Gang<'_>) -> Result<(), String> {
        match step {
            Step::Product {
                from,
                to,
                slide,
                packed,
            } => self.share(
                memory,
                gang,
                [*from, *to],
                *slide == Slide::POINT
                    && [from, to].map(|p| self.planes[*p].border) == [Border::default(); 2],
                |bytes, source, first, target| {
                    if slide.is_point() {
                        let from = point_source(source, bytes, slide, first);
                        self.kernel.matmul(packed, from, target);
                    } else {
                        self.windows(bytes, source, slide, packed, first, target);
                    }
                },
            ),
            Step::Depthwise {
                from,
                to,
                slide,
                packed,
                portable,
            } => self.share(
                memory,
                gang,
                [*from, *to],
                false,
                |bytes, source, first, target| {
                    let row = (first * slide.stride[0]) as isize - slide.pad[0] as isize;
                    let height = self.planes[*to].height;
                    if target.rows < height {
                        source.fetch(bytes, slide, first..first + target.rows, height);
                    }
                    let from = Source {
                        bytes,
                        origin: source.at(row, -(slide.pad[1] as isize)),
                        pixel_bytes: source.pixel_bytes,
                        row_bytes: source.row_bytes(),
                    };
                    if *portable {
                        Portable.depthwise(packed, from, target);
                    } else {
                        self.kernel.depthwise(packed, from, target);
                    }
                },
            ),
            Step::Add { a, b, to, sum } => self.add(memory, gang, [*a, *b, *to], sum),
            Step::Lookup { from, to, table } => self.lookup(memory, gang, [*from, *to], table),
            Step::MaxPool { from, to, slide } => self.max_pool(memory, gang, [*from, *to], slide),
            Step::Pool {
                from,
                to,
                max,
                scale,
                zero,
            } => {
                let plane = &self.planes[*from];
                let bytes = &memory.buffers[plane.buffer];
                let flip = self.kernel.flip();
                let pixels = if *max { 1 } else { plane.height * plane.width };
                let zero = i64::from(*zero) * pixels as i64;
                let scale = (f64::from(*scale) / pixels as f64) as f32;
                let threads = gang.threads();
                let start = |band: usize| (plane.height * band).div_ceil(threads);
                let bands = (0..threads).map(|band| (start(band)..start(band + 1), Vec::new()));
                let mut bands: Vec<_> = bands.collect();
                gang.share(&mut bands, |(rows, found)| {
                    *found = pool(plane, rows.clone(), bytes, *max, flip);
                });
                let mut bands = bands.into_iter().map(|(_, found)| found);
                let mut found = bands.next().unwrap_or_default();
                for other in bands {
                    for (found, other) in found.iter_mut().zip(other) {
                        *found = if *max {
                            other.max(*found)
                        } else {
                            other + *found
                        };
                    }
                }
                for (to, found) in memory.vectors[*to].iter_mut().zip(found) {
                    *to = (i64::from(found) - zero) as f32 * scale;
                }
            }
            Step::Scale { from, to, factors } => {
                let factors = factors.iter().cycle();
                let scaled = memory.vectors[*from].iter().zip(factors);
                memory.vectors[*to] = scaled.map(|(x, factor)| x * factor).collect();
            }
            Step::Quantize { vector, to, scale } => {
                let plane = &self.planes[*to];
                let flip = self.kernel.flip();
                let bytes = &mut memory.buffers[plane.buffer];
                plane.fill_border(bytes);
                for (at, x) in plane.in_order().zip(&memory.vectors[*vector]) {
                    let level = (x / scale).round_ties_even() + f32::from(plane.zero ^ flip);
                    bytes[at] = level.clamp(0.0, 255.0) as u8 ^ flip;
                }
            }
            Step::Floats { floats, feeds, to } => {
                let numbers = feeds.iter().map(|feed| match *feed {
                    Feed::Plane { plane, signed } => {
                        let plane = &self.planes[plane];
                        let bytes = &memory.buffers[plane.buffer];
                        let flip = self.kernel.flip() ^ if signed { 0x80 } else { 0 };
                        Numbers::Bytes(plane.in_order().map(|at| bytes[at] ^ flip).collect())
                    }
                    Feed::Vector(vector) => Numbers::F32(memory.vectors[vector].clone()),
                });
                memory.vectors[*to] = floats.run(numbers.collect())?.swap_remove(0);
            }
            Step::Flatten { from, to } => {
                let mut bytes = std::mem::take(&mut memory.buffers[self.planes[*to].buffer]);
                let plane = &self.planes[*from];
                let to_plane = &self.planes[*to];
                to_plane.fill_border(&mut bytes);
                let first = to_plane.at(0, 0);
                let from = &memory.buffers[plane.buffer];
                for (to, at) in bytes[first..].iter_mut().zip(plane.in_order()) {
                    *to = from[at];
                }
                memory.buffers[self.planes[*to].buffer] = bytes;
            }
        }
        Ok(())
    }

    /// Lets `work` fill the rows of plane `to` from plane `from`, shared between threads. It is told the first of its rows. Where a
    /// pixel is made of the same pixel, few rows need not be shared unevenly: all pixels are one column.
    fn share(
        &self,
        memory: &mut Memory,
        gang: &mut Gang<'_>,
        [from, to]: [usize; 2],
        point_by_point: bool,
        work: impl Fn(&[u8], &Plane, usize, Target<'_>) + Sync,
    ) {
        let (mut source, mut plane) = (self.planes[from], self.planes[to]);
        if point_by_point {
            (source, plane) = (source.one_column(), plane.one_column());
        }
        let mut out = std::mem::take(&mut memory.buffers[plane.buffer]);
        let bytes = &*memory.buffers[source.buffer];
        plane.share(&mut out, gang, |first, target| {
            work(bytes, &source, first, target);
        });
        memory.buffers[plane.buffer] = out;
    }

    /// A convolution: windows of one row of the output laid side by side, then their product.
    fn windows(
        &self,
        bytes: &[u8],
        source: &Plane,
        slide: &Slide,
        packed: &Packed,
        first: usize,
        to: Target<'_>,
    ) {
        let run = run_bytes(slide, source.pixel_bytes);
        let runs = slide.height
            * if slide.dilation[1] == 1 {
                1
            } else {
                slide.width
            };
        let window = run * runs;
        let mut row = vec![0u8; to.width * window + SLACK];
        let across = runs / slide.height;
        let starts: Vec<usize> = (0..runs)
            .map(|index| {
                let line = first * slide.stride[0] + index / across * slide.dilation[0];
                let column = index % across * slide.dilation[1];
                source.at(
                    line as isize - slide.pad[0] as isize,
                    column as isize - slide.pad[1] as isize,
                )
            })
            .collect();
        for y in 0..to.rows {
            let line = y * slide.stride[0] * source.row_bytes();
            for (index, start) in starts.iter().enumerate() {
                copy_runs(
                    &mut row[index * run..],
                    window,
                    &bytes[start + line..],
                    slide.stride[1] * source.pixel_bytes,
                    run,
                    to.width,
                );
            }
            let from = Source {
                bytes: &row,
                origin: 0,
                pixel_bytes: window,
                row_bytes: 0,
            };
            let out = Target {
                bytes: &mut *to.bytes,
                origin: to.origin + y * to.row_bytes,
                rows: 1,
                ..to
            };
            self.kernel.matmul(packed, from, out);
        }
    }

    fn add(&self, memory: &mut Memory, gang: &mut Gang<'_>, planes: [usize; 3], sum: &Sum) {
        let [a, b, to] = planes.map(|plane| &self.planes[plane]);
        let mut out = std::mem::take(&mut memory.buffers[to.buffer]);
        let (bytes_a, bytes_b) = (&memory.buffers[a.buffer], &memory.buffers[b.buffer]);
        let count = to.width * to.pixel_bytes;
        to.share(&mut out, gang, |first, target| {
            let rows = target.bytes.chunks_exact_mut(target.row_bytes);
            for (y, row) in (first as isize..).zip(rows) {
                let (at_a, at_b) = (a.at(y, 0), b.at(y, 0));
                self.kernel.add(
                    sum,
                    &bytes_a[at_a..at_a + count],
                    &bytes_b[at_b..at_b + count],
                    &mut row[target.origin..][..count],
                );
            }
        });
        memory.buffers[to.buffer] = out;
    }
}

/// Copies `count` runs of `run` bytes that begin `from_step` and `to_step` bytes apart.
fn copy_runs(
    to: &mut [u8],
    to_step: usize,
    from: &[u8],
    from_step: usize,
    run: usize,
    count: usize,
) {
    for index in 0..count {
        let to = &mut to[index * to_step..][..run];
        let from = &from[index * from_step..][..run];
        // Two words that overlap are quicker than a call.
        if let (9..=16, Some(first), Some(last)) = (run, from.first_chunk::<8>(), from.last_chunk())
        {
            to[..8].copy_from_slice(first);
            to[run - 8..].copy_from_slice(last as &[u8; 8]);
        } else {
            to.copy_from_slice(from);
        }
    }
}

fn point_source<'a>(plane: &Plane, bytes: &'a [u8], slide: &Slide, first: usize) -> Source<'a> {
    Source {
        bytes,
        origin: plane.at(
            (first * slide.stride[0]) as isize - slide.pad[0] as isize,
            -(slide.pad[1] as isize),
        ),
        pixel_bytes: plane.pixel_bytes * slide.stride[1],
        row_bytes: plane.row_bytes() * slide.stride[0],
    }
}
