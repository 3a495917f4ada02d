//! What can go wrong: libtorch's refusals, cut to one line, and a libtorch that is not the right one.

/// Why a call of this crate failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// libtorch threw an exception; this is the first line of its message.
    #[error("libtorch: {0}")]
    Torch(String),
    /// Lists that belong together have different lengths.
    #[error("{n_found} {found} for {n_expected} {expected}")]
    Lengths {
        /// What the list holds that has the wrong length.
        found: &'static str,
        /// Its length.
        n_found: usize,
        /// What it has to be as long as.
        expected: &'static str,
        /// The length of that.
        n_expected: usize,
    },
    /// The bytes given cannot be seen as the tensor asked for.
    #[error("{0}")]
    Blob(String),
    /// A collective operation was called in a way that cannot be right.
    #[error("{0}")]
    Call(String),
    /// An operation would use memory that another one has not finished with.
    #[error("{wanted}: the memory is in use by `{by}`, which was not waited for")]
    InFlight {
        /// The operation that was called.
        wanted: &'static str,
        /// The one that has the memory.
        by: &'static str,
    },
    /// An operation between ranks failed: a rank is gone, or did not come within the timeout.
    #[error("{operation} in group `{group}`: {message}")]
    Lost {
        /// The operation.
        operation: &'static str,
        /// The group's name.
        group: String,
        /// The first line of what libtorch says.
        message: String,
    },
    /// GPUs cannot be connected with one another.
    #[error("GPUs cannot be connected: {0}")]
    Nccl(String),
    /// The program was built against another libtorch than it found when it started.
    #[error(
        "this program was built for libtorch {expected} but found {found}\n\
         hint: run `scripts/libtorch` and build again, and see that LD_LIBRARY_PATH names no other libtorch"
    )]
    Version {
        /// The version that the program was built for.
        expected: &'static str,
        /// The version that is loaded.
        found: String,
    },
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The first line of a C++ message; what follows it is a backtrace or a list of kernels, but for NCCL's own words.
    pub(crate) fn torch(message: &str) -> Self {
        let mut lines = message.lines();
        let first = lines.next().unwrap_or_default().trim();
        let nccl = lines.find(|line| *line == "Last error:").and_then(|_| lines.next());
        match nccl.map(str::trim).filter(|line| !line.is_empty()) {
            Some(nccl) => Error::Torch(format!("{first}: {nccl}")),
            None => Error::Torch(first.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_message_the_first_line_is_kept_and_what_nccl_says() {
        let check = |message: &str, expected: &str| {
            assert_eq!(Error::torch(message).to_string(), format!("libtorch: {expected}"));
        };
        check("", "");
        check("no such size\nException raised from ...\nframe #0: ...", "no such size");
        // As ranks that share a GPU get it.
        check(
            "NCCL error in: NCCLUtils.cpp:94, invalid usage (run with NCCL_DEBUG=WARN for details)\n\
             ncclInvalidUsage: This usually reflects invalid usage of NCCL library.\n\
             Last error:\n\
             Duplicate GPU detected : rank 1 and rank 0 both on CUDA device 3000\n\
             Exception raised from ...",
            "NCCL error in: NCCLUtils.cpp:94, invalid usage (run with NCCL_DEBUG=WARN for details): \
             Duplicate GPU detected : rank 1 and rank 0 both on CUDA device 3000",
        );
        check("NCCL error\nLast error:\n", "NCCL error");
    }
}
