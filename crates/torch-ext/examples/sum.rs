//! A sum over ranks. Start it once per rank, here with two:
//!
//! ```sh
//! RANK=0 WORLD_SIZE=2 MASTER_PORT=29500 cargo run --example sum &
//! RANK=1 WORLD_SIZE=2 MASTER_PORT=29500 cargo run --example sum
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what came out")]

use std::rc::Rc;
use std::time::Duration;

use tch::Tensor;
use torch_ext::{ProcessGroup, ReduceOp, Store, Transcript};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let variable = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set"));
    let (rank, size) = (variable("RANK")?.parse()?, variable("WORLD_SIZE")?.parse()?);
    let port = variable("MASTER_PORT")?.parse()?;
    let timeout = Duration::from_secs(30);

    // Rank 0 serves the store by which they find one another.
    let store = match rank {
        0 => Store::serve(port, timeout)?,
        _ => Store::connect("localhost", port, timeout)?,
    };
    let transcript = Rc::new(Transcript::default());
    let group = ProcessGroup::gloo(&store, "world", rank, size, timeout, &transcript)?;

    let ours = Tensor::from_slice(&[1.0_f32, 2.0, 3.0]);
    let work = group.all_reduce(ours, ReduceOp::Sum)?;
    // Whatever needs neither the tensor nor the sum can be done here.
    let sum = Vec::<f32>::try_from(work.wait()?)?;
    println!(
        "rank {rank} of {size}: the sum is {sum:?}, and {} bytes were sent",
        transcript.bytes()
    );
    // The store ends with rank 0: nobody may need it any more.
    group.barrier()?;
    Ok(())
}
