//! Two ranks on two hosts: network namespaces with a cable between them, each with an address of its own.
//!
//! Where the system does not allow namespaces, a test says so and does not run.

use std::process::{Child, Command, Stdio};

use crate::tiny_run::TinyRun;

/// Two hosts, gone with this value.
pub(crate) struct Hosts([String; 2]);

impl Hosts {
    /// Two hosts that see each other at 10.77.0.1 and 10.77.0.2.
    #[expect(clippy::print_stderr, reason = "a test that does not run says so")]
    pub(crate) fn new(test: &str) -> Option<Self> {
        let names = [1, 2].map(|host| format!("trainer-{test}-{}-{host}", std::process::id()));
        let [one, two] = &names;
        if !ip(&["netns", "add", one]) {
            eprintln!("skipped: this system does not allow network namespaces");
            return None;
        }
        let hosts = Self(names.clone());
        let cable = ["type", "veth", "peer", "name", "cable", "netns", two];
        assert!(ip(&["netns", "add", two]));
        assert!(ip(&[&["link", "add", "cable", "netns", one][..], &cable].concat()));
        for (name, address) in names.iter().zip(["10.77.0.1/24", "10.77.0.2/24"]) {
            assert!(ip(&["-n", name, "addr", "add", address, "dev", "cable"]));
            // The rank that serves the store reaches it as `localhost`.
            for interface in ["cable", "lo"] {
                assert!(ip(&["-n", name, "link", "set", interface, "up"]));
            }
        }
        Some(hosts)
    }

    /// Rank 0 on the first host and rank 1 on the second.
    pub(crate) fn train(&self, run: &TinyRun, out: &str) -> [Child; 2] {
        [0, 1].map(|rank| {
            let train = run.train(out, &[]);
            let mut command = Command::new("ip");
            command.current_dir(run.path("")).args(["netns", "exec", &self.0[rank]]);
            command.arg(train.get_program()).args(train.get_args());
            command.envs([("MASTER_ADDR", "10.77.0.1"), ("MASTER_PORT", "29500")]);
            command.envs([("RANK", rank.to_string()), ("WORLD_SIZE", "2".to_string())]);
            command.env("GLOO_SOCKET_IFNAME", "cable").stdout(Stdio::null());
            command.stderr(Stdio::piped()).spawn().expect("it starts")
        })
    }

    /// From here on, neither hears the other.
    pub(crate) fn pull_the_cable(&self) {
        assert!(ip(&["-n", &self.0[1], "link", "set", "cable", "down"]));
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for name in &self.0 {
            ip(&["netns", "delete", name]);
        }
    }
}

/// Whether `ip` could do this.
fn ip(arguments: &[&str]) -> bool {
    let output = Command::new("ip").args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}
