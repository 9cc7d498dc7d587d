//! The archive that scripts/image-archive packs, read as a runtime reads it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::repository;

const NAME: &str = "warren.io/warren:1.2.3";

/// Two architectures' programs; what is in them matters to nobody here.
struct Programs(TempDir);

impl Programs {
    fn new() -> Self {
        let programs = Self(tempfile::tempdir().unwrap());
        for architecture in ["amd64", "arm64"] {
            let directory = programs.0.path().join(architecture);
            std::fs::create_dir(&directory).unwrap();
            for program in ["agent", "warren"] {
                let content = format!("{program} for {architecture}\n");
                std::fs::write(directory.join(program), content).unwrap();
            }
        }
        programs
    }

    /// The archive of these architectures.
    fn archive(&self, file: &str, architectures: &[&str]) -> PathBuf {
        let archive = self.0.path().join(file);
        let images = architectures.iter().map(|architecture| {
            format!("{architecture}={}", self.0.path().join(architecture).display())
        });
        let status = Command::new(repository("scripts/image-archive"))
            .arg(&archive)
            .arg(NAME)
            .args(images)
            .status();
        assert!(status.unwrap().success());
        archive
    }

    /// The archive unpacked.
    fn layout(&self, architectures: &[&str]) -> Layout {
        let archive = self.archive("image.tar", architectures);
        let directory = tempfile::tempdir().unwrap();
        run("tar", &["-xf", path(&archive), "-C", path(directory.path())]);
        Layout(directory)
    }
}

/// An OCI image layout.
struct Layout(TempDir);

impl Layout {
    fn json(&self, file: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.0.path().join(file)).unwrap()).unwrap()
    }

    /// The file that a descriptor points to, which is what it says in digest and size.
    fn blob(&self, descriptor: &Value) -> PathBuf {
        let digest = descriptor["digest"].as_str().unwrap();
        let file = self.0.path().join("blobs").join(digest.replace(':', "/"));
        assert_eq!(std::fs::metadata(&file).unwrap().len(), descriptor["size"]);
        assert_eq!(sha256(&file), digest);
        file
    }

    fn object(&self, descriptor: &Value) -> Value {
        serde_json::from_slice(&std::fs::read(self.blob(descriptor)).unwrap()).unwrap()
    }

    /// Reads the image of one architecture down to the programs in its layer.
    fn check_image(&self, descriptor: &Value, architecture: &str) {
        assert_eq!(descriptor["mediaType"], "application/vnd.oci.image.manifest.v1+json");
        let platform = serde_json::json!({"architecture": architecture, "os": "linux"});
        assert_eq!(descriptor["platform"], platform);
        let manifest = self.object(descriptor);
        let config = self.object(&manifest["config"]);
        assert_eq!(config["architecture"], architecture);
        assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["/agent"]));
        let layers = manifest["layers"].as_array().unwrap();
        assert_eq!(layers.len(), 1);
        let compressed = self.blob(&layers[0]);
        let layer = self.0.path().join("layer");
        std::fs::write(&layer, run("gzip", &["-dc", path(&compressed)])).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"], serde_json::json!([sha256(&layer)]));
        let listed = run("tar", &["--numeric-owner", "-tvf", path(&layer)]);
        let listed = String::from_utf8(listed).unwrap();
        let entries: Vec<_> = listed
            .lines()
            .map(|line| {
                let words: Vec<_> = line.split_whitespace().collect();
                (words[0], words[1], words[5])
            })
            .collect();
        let expected = [
            ("drwxr-xr-x", "0/0", "./"),
            ("-rwxr-xr-x", "0/0", "./agent"),
            ("-rwxr-xr-x", "0/0", "./warren"),
        ];
        assert_eq!(entries, expected);
        let agent = run("tar", &["-xOf", path(&layer), "./agent"]);
        assert_eq!(agent, format!("agent for {architecture}\n").into_bytes());
    }

    /// What the archive's one name stands for.
    fn named(&self) -> Value {
        let index = self.json("index.json");
        assert_eq!(index["manifests"].as_array().unwrap().len(), 1);
        let named = &index["manifests"][0];
        assert_eq!(named["annotations"]["io.containerd.image.name"], NAME);
        assert_eq!(self.json("oci-layout")["imageLayoutVersion"], "1.0.0");
        named.clone()
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).output().expect("it can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn sha256(file: &Path) -> String {
    let said = String::from_utf8(run("sha256sum", &[path(file)])).unwrap();
    format!("sha256:{}", said.split_whitespace().next().unwrap())
}

#[test]
fn the_archive_of_one_architecture_is_an_oci_layout_and_what_docker_saves() {
    let layout = Programs::new().layout(&["arm64"]);
    let named = layout.named();
    layout.check_image(&named, "arm64");
    let manifest = layout.object(&named);
    let file = |descriptor: &Value| {
        format!("blobs/{}", descriptor["digest"].as_str().unwrap().replace(':', "/"))
    };
    let saved = serde_json::json!([{
        "Config": file(&manifest["config"]),
        "RepoTags": [NAME],
        "Layers": [file(&manifest["layers"][0])],
    }]);
    assert_eq!(layout.json("manifest.json"), saved);
}

#[test]
fn the_archive_of_both_has_one_name_for_the_list_of_them() {
    let layout = Programs::new().layout(&["amd64", "arm64"]);
    let named = layout.named();
    assert_eq!(named["mediaType"], "application/vnd.oci.image.index.v1+json");
    let list = layout.object(&named);
    let images = list["manifests"].as_array().unwrap();
    assert_eq!(images.len(), 2);
    for (image, architecture) in images.iter().zip(["amd64", "arm64"]) {
        layout.check_image(image, architecture);
    }
    // It names one image for whatever machine.
    assert!(!layout.0.path().join("manifest.json").exists());
}

#[test]
fn the_same_programs_make_the_same_archive() {
    let programs = Programs::new();
    let first = programs.archive("first.tar", &["amd64", "arm64"]);
    for program in ["amd64/agent", "arm64/warren"] {
        let file = programs.0.path().join(program);
        let content = std::fs::read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, content).unwrap();
    }
    let second = programs.archive("second.tar", &["amd64", "arm64"]);
    assert_eq!(sha256(&first), sha256(&second));
    std::fs::write(programs.0.path().join("amd64/agent"), "another").unwrap();
    let third = programs.archive("third.tar", &["amd64", "arm64"]);
    assert_ne!(sha256(&first), sha256(&third));
}

#[test]
fn the_manifests_ask_for_the_image_that_is_made() {
    let made = format!("warren.io/warren:{}", env!("CARGO_PKG_VERSION"));
    for (file, images) in [("deploy/warren.yaml", 2), ("deploy/cleanup.yaml", 1)] {
        let text = std::fs::read_to_string(repository(file)).unwrap();
        let asked: Vec<_> =
            text.lines().filter_map(|line| line.trim_start().strip_prefix("image: ")).collect();
        assert_eq!(asked, vec![made.as_str(); images], "{file}");
    }
}
