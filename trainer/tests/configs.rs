//! Every configuration in `configs/train` can be read.

use std::path::Path;

use trainer::config::Config;

#[test]
fn every_training_configuration_can_be_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/train");
    let mut read = 0;
    for entry in fs_err::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        Config::read(&path, &[]).unwrap_or_else(|error| panic!("{error:#}"));
        read += 1;
    }
    assert!(read >= 3, "{} has {read} files", folder.display());
}
