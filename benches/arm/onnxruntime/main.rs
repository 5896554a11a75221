//! Inferences of a model by onnxruntime on one thread, each between two marks that `../count.c` sees.
//!
//!     onnxruntime-inference LIBRARY MODEL [RUNS]

use ort::session::{Session, builder::GraphOptimizationLevel};
use ort::value::Tensor;
use std::os::unix::process::parent_id;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(library), Some(model)) = (arguments.next(), arguments.next()) else {
        return Err("name the library and the model".into());
    };
    let runs: u32 = arguments.next().map_or(Ok(3), |runs| runs.parse())?;
    ort::init_from(&library)?.commit();
    let mut session = Session::builder()?
        .with_intra_threads(1)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .commit_from_file(&model)?;
    let shape = [1usize, 3, 224, 224];
    let pixels: Vec<u8> = (0..shape.iter().product())
        .map(|at: usize| (at * 2_654_435_761 >> 7) as u8)
        .collect();
    let image = Tensor::from_array((shape, pixels))?;
    for _ in 0..runs {
        let _ = parent_id();
        session.run(ort::inputs!["image" => image.view()])?;
    }
    let _ = parent_id();
    Ok(())
}
