//! Checkpoints, as someone meets them who stops a run, goes on, and loses a file.

mod workplace;

use workplace::Workplace;

const FILES: [&str; 5] = [
    "model.safetensors",
    "exp_avg.safetensors",
    "exp_avg_sq.safetensors",
    "config.json",
    "checkpoint.json",
];

#[test]
fn a_resumed_run_ends_with_the_bytes_of_one_that_was_never_stopped() {
    let place = Workplace::new();
    for precision in ["precision=fp32", "precision=bf16"] {
        let run = |out: &str, more: &[&str]| {
            let words = ["train", "--config", "run.yaml", "--set", precision, "--out", out];
            place.done(&[&words[..], more].concat())
        };
        let (whole, parts) = (format!("{precision}-whole"), format!("{precision}-parts"));
        run(&whole, &[]);
        run(&parts, &["--stop-after", "3"]);
        let said = run(&parts, &[]);
        assert!(said.contains("resuming after step 3"), "{said}");
        for name in FILES {
            let read = |out: &str| {
                let path = place.path(out).join("checkpoints/step-0000004").join(name);
                fs_err::read(path).expect("a finished run has a checkpoint")
            };
            assert!(read(&whole) == read(&parts), "{precision}: `{name}` differs");
        }
        // Two are kept: the older ones went when the newer were whole.
        let left = fs_err::read_dir(place.path(&parts).join("checkpoints")).unwrap();
        let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["step-0000003", "step-0000004"]);
    }
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_older_one_is_offered() {
    let place = Workplace::new();
    let train = ["train", "--config", "run.yaml", "--out", "run"];
    place.done(&train);
    let newest = place.path("run/checkpoints/step-0000004");
    let check = |name: &str, edit: &dyn Fn(&mut Vec<u8>), complaint: &str| {
        let path = newest.join(name);
        let whole = fs_err::read(&path).unwrap();
        let mut bytes = whole.clone();
        edit(&mut bytes);
        shards::atomic::write(&path, &bytes).unwrap();
        let said = place.refused(&train, complaint);
        assert!(said.contains(name) && said.contains("run/checkpoints/step-0000002"), "{said}");
        shards::atomic::write(&path, &whole).unwrap();
    };
    check("exp_avg.safetensors", &|bytes| *bytes.last_mut().unwrap() ^= 1, "SHA-256");
    check("model.safetensors", &|bytes| bytes.truncate(1000), "has 1000 bytes, expected");
    check("config.json", &|bytes| bytes.push(b' '), "bytes, expected");
    check("checkpoint.json", &|bytes| bytes.truncate(40), "is damaged");

    fs_err::remove_file(newest.join("exp_avg_sq.safetensors")).unwrap();
    place.refused(&train, "exp_avg_sq.safetensors");
    // What the hint says helps.
    fs_err::remove_dir_all(&newest).unwrap();
    let said = place.done(&train);
    assert!(said.contains("resuming after step 2"), "{said}");
}
