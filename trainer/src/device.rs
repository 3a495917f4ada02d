//! Where the model computes: a choice -> a device, or why it cannot be had.

use anyhow::Result;
use cli::bail_input;
use tch::Device;
use torch_ext::cuda::{self, NoCuda};

use crate::config::{DeviceChoice, Offload};

/// Where a model and what it is trained with are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Devices {
    /// Where it computes: weights and gradients.
    pub model: Device,
    /// Where masters and the optimizer's moments are, if these are apart from what the model reads.
    pub state: Option<Device>,
}

impl Devices {
    /// The same with what is in CPU memory by choice.
    pub fn of(model: Device, offload: Offload) -> Result<Self> {
        match (offload, model) {
            (Offload::None, _) => Ok(model.into()),
            (Offload::Optimizer, Device::Cpu) => bail_input!(
                "`offload` is `optimizer`, but this run computes on the CPU, in whose memory the optimizer's state is in any case\n\
                 hint: leave `offload` out"
            ),
            (Offload::Optimizer, _) => Ok(Self { model, state: Some(Device::Cpu) }),
        }
    }
}

impl From<Device> for Devices {
    fn from(model: Device) -> Self {
        Self { model, state: None }
    }
}

/// The device that was chosen, of the process that is the `local_rank`-th of those that train together on this machine: each
/// has a GPU of its own. A machine that has a GPU which cannot be used is told so in a remark; one without a GPU computes on
/// the CPU without a word.
pub fn choose(
    choice: DeviceChoice,
    local_rank: usize,
    remarks: &mut Vec<String>,
) -> Result<Device> {
    match (choice, cuda::load()) {
        (DeviceChoice::Cpu, _) | (DeviceChoice::Auto, Err(NoCuda::NoDriver)) => Ok(Device::Cpu),
        (_, Ok(n_gpus)) => {
            let gpu = own_gpu(local_rank, n_gpus)?;
            cuda::use_gpu(gpu)?;
            Ok(Device::Cuda(gpu))
        }
        (DeviceChoice::Auto, Err(no_cuda)) => {
            remarks.push(format!("computing on the CPU: {no_cuda}"));
            Ok(Device::Cpu)
        }
        (DeviceChoice::Cuda, Err(no_cuda)) => bail_input!("`device` is `cuda`, but {no_cuda}"),
    }
}

/// The GPU of a process, of so many on its machine.
fn own_gpu(local_rank: usize, n_gpus: usize) -> Result<usize> {
    if local_rank < n_gpus {
        return Ok(local_rank);
    }
    let there_are =
        if n_gpus == 1 { "there is 1 GPU".into() } else { format!("there are {n_gpus} GPUs") };
    bail_input!(
        "this process is number {local_rank} of its machine, from 0 (`LOCAL_RANK`), but {there_are}\n\
         hint: start as many processes on a machine as it has GPUs, let each see all of them, or set `device: cpu`"
    )
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn the_state_can_be_in_cpu_memory_where_the_model_is_not() {
        let gpu = Device::Cuda(1);
        let apart = Devices { model: gpu, state: Some(Device::Cpu) };
        assert_eq!(Devices::of(gpu, Offload::Optimizer).unwrap(), apart);
        assert_eq!(Devices::of(gpu, Offload::None).unwrap(), Devices::from(gpu));
        assert_eq!(Devices::of(Device::Cpu, Offload::None).unwrap().state, None);
    }

    #[test]
    fn every_process_of_a_machine_has_a_gpu_of_its_own() {
        assert_eq!([0, 1, 7].map(|rank| own_gpu(rank, 8).unwrap()), [0, 1, 7]);
        expect![[r#"
            this process is number 1 of its machine, from 0 (`LOCAL_RANK`), but there is 1 GPU
            hint: start as many processes on a machine as it has GPUs, let each see all of them, or set `device: cpu`"#]]
        .assert_eq(&own_gpu(1, 1).unwrap_err().to_string());
        expect![[r#"
            this process is number 8 of its machine, from 0 (`LOCAL_RANK`), but there are 8 GPUs
            hint: start as many processes on a machine as it has GPUs, let each see all of them, or set `device: cpu`"#]]
        .assert_eq(&own_gpu(8, 8).unwrap_err().to_string());
    }
}
