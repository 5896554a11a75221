//! # fieldhead: a classifier that learns where it works
//!
//! A frozen, quantized backbone turns what a camera, a microphone or a sensor notices into a feature vector. A small head, trained on
//! the board itself, turns the vector into the user's own labels. Every acknowledged sample and every head survives a pulled plug.
//!
//! ```text
//! source ──► preprocess ──► backbone ──► features ──► head ──► decision ──► lamps, page
//!  files       u8 picture     int8         f32[D]      scores    label | unknown
//!  camera      or window      frozen                     ▲
//!  microphone                                            │ learn, forget ◄── buttons, page
//!  sensor, line                store: samples · features · photos · heads · journal   (one crash-safe file)
//! ```
//!
//! ## Rooms, in reading order
//! 1. [`pipeline`]: the only file that knows the order of the others. Begin here.
//! 2. [`source`]: files, folders, cameras, microphones, sensors, other programs, and the simulated line.
//! 3. [`preprocess`]: bytes to a picture or a window (sound is a picture of its mel bands), a picture to the backbone's input. Pure.
//! 4. [`backbone`]: finding, checking, loading and running the network. Its inside, in reading order: `onnx` (what the file says),
//!    `lower` (quantized operators to integer steps), `program` (running them), `kernels` (one file an instruction set; the only
//!    place with `unsafe`), `float` (tract's operators for what has no integer step), and `graph`, which chooses; `window` has the
//!    formulas that take the place of a network for sensors.
//! 5. [`features`]: the vector, and the recipe that says how it came to be.
//! 6. [`head`]: what is trained. Five kinds behind one seam; ridge and LDA are two readings of one regression.
//! 7. [`learn`]: choosing settings on the samples at hand: splits, cross-validation, calibration, metrics. Pure.
//! 8. [`decision`]: scores to a label, to a set of labels, or to *unknown*. Pure.
//! 9. [`store`]: everything that has to survive.
//! 10. [`board`]: which board this is, what hangs on it, and what it has to keep to.
//! 11. [`device`]: buttons, lamps and sensors on the board's header.
//! 12. [`web`]: who may call over HTTP, what a request asks for, and the page.
//! 13. [`config`], [`label`], [`random`]: settings and names, checked; seeded numbers. `guard`: a library's panic becomes an error.
//!
//! The binary adds `cli/`, one file a verb, where all printing is.
//!
//! ## Invariants
//! 1. The same picture, sound or window gives the same features, bit for bit, on every machine: decoding, fitting, resizing and the
//!    network itself are integer arithmetic; what becomes of sound and windows is computed in `f64` in one order, with our own
//!    transform and the functions of `libm`.
//! 2. A head names the backbone and the preprocessing it was trained on (hashes) and refuses any other.
//! 3. What was acknowledged is on disk. What was not leaves no trace.
//! 4. A failed change leaves the head as it was. A new head replaces the old one only after it was read back and checked.
//! 5. *Unknown* is an answer.
//! 6. Samples of one capture burst never stand on both sides of a split.
//! 7. Nothing listens but `serve`, beyond loopback never without a token; nothing needs the network.
//! 8. The same samples, settings and seed give the same head.
//!
//! Time and randomness are passed in; no room but `cli` reads a clock.
#![deny(unsafe_code)]

pub mod backbone;
pub mod board;
pub mod config;
pub mod decision;
pub mod device;
pub mod features;
mod guard;
pub mod head;
pub mod label;
pub mod learn;
pub mod pipeline;
pub mod preprocess;
pub mod random;
pub mod source;
pub mod store;
pub mod web;
