//! Environment variables -> which rank this process is, and where the others are to be met.
//!
//! The names are those of PyTorch (`trainer launch`, torchrun, PyTorchJob set them). Slurm's and Open MPI's own say the
//! rank too; since they are also set where one process runs alone in such a job, they count only beside `MASTER_ADDR`.

use std::time::Duration;

use anyhow::{Context, Result};
use cli::{BadInput, bail_input};
use torch_ext::Store;

/// PyTorch's default for `MASTER_PORT`.
const PORT: u16 = 29500;

/// Which rank a process is, and where the others are to be met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The number of the rank, from 0.
    pub rank: usize,
    /// How many there are.
    pub size: usize,
    /// The number on this machine, from 0.
    pub local_rank: usize,
    host: String,
    port: u16,
    /// Whether somebody else serves the store, such as torchrun; else rank 0 does.
    served: bool,
    /// Keeps the attempts of a job that is started again apart.
    attempt: u64,
}

impl Place {
    /// The only process.
    pub fn alone() -> Self {
        let host = "localhost".to_string();
        Self { rank: 0, size: 1, local_rank: 0, host, port: PORT, served: false, attempt: 0 }
    }

    /// Looks into the environment of this process.
    pub fn from_environment() -> Result<Self> {
        Self::from(|name| std::env::var(name).ok())
    }

    fn from(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let number = |name: &str| -> Result<Option<usize>> {
            let Some(text) = variable(name) else { return Ok(None) };
            let number =
                text.parse().with_context(|| format!("`{name}` is `{text}`, expected a number"));
            number.map(Some).bad_input()
        };
        let master = variable("MASTER_ADDR");
        let schemes = [
            ["RANK", "WORLD_SIZE", "LOCAL_RANK"],
            ["SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"],
            ["OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"],
        ];
        let applies = |scheme: &&[&str; 3]| {
            variable(scheme[0]).is_some() && (scheme[0] == "RANK" || master.is_some())
        };
        let Some([rank, size, local_rank]) = schemes.iter().find(applies) else {
            return Ok(Self::alone());
        };
        let (Some(n_rank), Some(n_size)) = (number(rank)?, number(size)?) else {
            bail_input!(
                "`{rank}` is set, but `{size}` is not\nhint: set both, or neither to train alone"
            );
        };
        if n_rank >= n_size {
            bail_input!("`{rank}` is {n_rank}, but `{size}` is {n_size}: ranks count from 0");
        }
        if n_size == 1 {
            return Ok(Self::alone());
        }
        let Some(host) = master else {
            bail_input!(
                "`{size}` is {n_size}, but `MASTER_ADDR` does not say where the ranks meet\n\
                 hint: set it to the machine of rank 0, or start with `trainer launch`"
            );
        };
        let port = match number("MASTER_PORT")? {
            None => PORT,
            Some(port) => u16::try_from(port).context("`MASTER_PORT` is no port").bad_input()?,
        };
        Ok(Self {
            rank: n_rank,
            size: n_size,
            local_rank: number(local_rank)?.unwrap_or(0),
            host,
            port,
            served: variable("TORCHELASTIC_USE_AGENT_STORE").is_some_and(|it| it == "True"),
            attempt: number("TORCHELASTIC_RESTART_COUNT")?.unwrap_or(0) as u64,
        })
    }

    /// Where the ranks meet.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The store by which the ranks find one another.
    pub(super) fn store(&self, timeout: Duration) -> torch_ext::Result<Store> {
        let store = if self.rank == 0 && !self.served {
            Store::serve(self.port, timeout)?
        } else {
            Store::connect(&self.host, self.port, timeout)?
        };
        store.prefixed(&format!("trainer/attempt {}", self.attempt))
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn place(variables: &[(&str, &str)]) -> Result<Place> {
        Place::from(|name| {
            variables.iter().find(|(it, _)| *it == name).map(|(_, value)| value.to_string())
        })
    }

    #[test]
    fn every_launcher_says_the_same() {
        let there = [("MASTER_ADDR", "node0"), ("MASTER_PORT", "4000")];
        for names in [
            ["RANK", "WORLD_SIZE", "LOCAL_RANK"],
            ["SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"],
            ["OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"],
        ] {
            let mut variables = there.to_vec();
            variables.extend(names.into_iter().zip(["5", "8", "1"]));
            let found = place(&variables).unwrap();
            assert_eq!((found.rank, found.size, found.local_rank), (5, 8, 1));
            assert_eq!(found.address(), "node0:4000");
        }
        // In a job of Slurm, a process that srun did not start for a group trains alone.
        let alone = place(&[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "8")]).unwrap();
        assert_eq!(alone, Place::alone());
        assert_eq!(place(&[]).unwrap(), Place::alone());
        assert_eq!(place(&[("RANK", "0"), ("WORLD_SIZE", "1")]).unwrap(), Place::alone());
    }

    #[track_caller]
    fn check(variables: &[(&str, &str)], expected: &Expect) {
        expected.assert_eq(&format!("{:#}", place(variables).unwrap_err()));
    }

    #[test]
    fn variables_that_do_not_add_up_are_named() {
        check(
            &[("RANK", "1")],
            &expect![[r#"
                `RANK` is set, but `WORLD_SIZE` is not
                hint: set both, or neither to train alone"#]],
        );
        check(
            &[("RANK", "2"), ("WORLD_SIZE", "2")],
            &expect!["`RANK` is 2, but `WORLD_SIZE` is 2: ranks count from 0"],
        );
        check(
            &[("RANK", "1"), ("WORLD_SIZE", "2")],
            &expect![[r#"
                `WORLD_SIZE` is 2, but `MASTER_ADDR` does not say where the ranks meet
                hint: set it to the machine of rank 0, or start with `trainer launch`"#]],
        );
        check(
            &[("RANK", "one"), ("WORLD_SIZE", "2")],
            &expect!["`RANK` is `one`, expected a number: invalid digit found in string"],
        );
    }
}
