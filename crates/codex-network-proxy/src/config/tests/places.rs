//! Which files are found: the machine's, and those of a project that is trusted.

use std::fs;

use tempfile::TempDir;

use super::*;

/// A machine with a home, system files and a project, all in one directory.
struct Machine {
    root: TempDir,
}

impl Machine {
    fn new() -> Self {
        let root = TempDir::new().unwrap();
        for directory in ["home", "etc", "project/.git", "project/inner/deep"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        Self { root }
    }

    fn path(&self, path: &str) -> PathBuf {
        // With links followed, as on macOS where the temporary directory is one.
        std::path::absolute(self.root.path().join(path)).unwrap()
    }

    fn write(&self, path: &str, text: &str) -> &Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn trust(&self, directory: &str) -> &Self {
        let quoted = format!("{:?}", self.path(directory).display().to_string());
        let text = format!("{ENABLED}[projects.{quoted}]\ntrust_level = \"trusted\"\n");
        self.write("home/config.toml", &text)
    }

    fn environment(&self, directory: &str) -> Environment {
        Environment {
            codex_home: Some(self.path("home").into_os_string()),
            home: None,
            working_directory: Some(self.path(directory)),
            system: SystemFiles {
                config: Some(self.path("etc/config.toml")),
                managed: Some(self.path("etc/managed_config.toml")),
                managed_in_home: false,
                requirements: Some(self.path("etc/requirements.toml")),
                device_profile: Some(self.path("etc/profile.plist")),
            },
        }
    }

    fn load(&self, directory: &str) -> Result<LoadedConfig, String> {
        let environment = self.environment(directory);
        LoadedConfig::from_files(
            &Overrides::default(),
            &environment,
            UnixSockets::Unsupported,
        )
        .map_err(|error| error.to_string())
    }

    /// The layers that are read, without the directory of the test.
    fn layers(&self, directory: &str) -> Vec<String> {
        let layers = self.load(directory).unwrap().layers;
        let root = format!("{}/", self.path("").display()).replace("//", "/");
        layers
            .iter()
            .map(|(kind, label)| format!("{} {}", kind.as_str(), label.replace(&root, "")))
            .collect()
    }
}

const ENABLED: &str = "default_permissions = \"p\"\n[permissions.p.network]\nenabled = true\n";

#[test]
fn all_files_of_the_machine_count() {
    let machine = Machine::new();
    machine
        .write("etc/config.toml", ENABLED)
        .write("etc/managed_config.toml", "")
        .write(
            "etc/requirements.toml",
            "[experimental_network]\nallowed_domains = [\"a.com\"]\n",
        );
    assert_eq!(
        machine.layers("project"),
        ["system etc/config.toml", "managed etc/managed_config.toml"]
    );
    let loaded = machine.load("project").unwrap();
    assert!(
        loaded
            .requirements
            .unwrap()
            .ends_with("etc/requirements.toml")
    );
    assert_eq!(loaded.rules.allowed.len(), 1);
}

#[test]
fn a_file_of_the_machine_that_cannot_be_read_is_an_error() {
    for name in ["config.toml", "managed_config.toml", "requirements.toml"] {
        let machine = Machine::new();
        fs::create_dir(machine.path("etc").join(name)).unwrap();
        let error = machine.load("project").unwrap_err();
        assert!(
            error.contains(name) && error.contains("a directory"),
            "{error}"
        );
    }
    let machine = Machine::new();
    machine.write("etc/profile.plist", "");
    let error = machine.load("project").unwrap_err();
    assert!(error.contains("device profile"), "{error}");
}

#[test]
fn a_trusted_project_has_its_say_from_its_root_down() {
    let machine = Machine::new();
    machine
        .trust("project")
        .write("project/.codex/config.toml", "")
        .write("project/inner/.codex/config.toml", "")
        .write("project/inner/deep/.codex/config.toml", "");
    let (user, root) = (
        "user home/config.toml",
        "project project/.codex/config.toml",
    );
    let inner = "project project/inner/.codex/config.toml";
    assert_eq!(machine.layers("project"), [user, root]);
    assert_eq!(machine.layers("project/inner"), [user, root, inner]);
    assert_eq!(machine.layers("project/inner/deep").len(), 4);
    // Above the root nothing is read.
    machine.write(".codex/config.toml", "");
    assert_eq!(machine.layers("project"), [user, root]);
}

#[test]
fn a_project_that_is_not_trusted_has_none() {
    let machine = Machine::new();
    machine
        .write("home/config.toml", ENABLED)
        // It cannot vouch for itself, and what it holds is not even TOML.
        .write("project/.codex/config.toml", "[projects]\n\"/\" = {}\n]");
    assert_eq!(machine.layers("project"), ["user home/config.toml"]);
    let warnings = machine.load("project").unwrap().warnings;
    assert!(warnings[0].contains("not trusted"), "{warnings:?}");
    machine.trust("project");
    let error = machine.load("project").unwrap_err();
    assert!(error.contains("not valid TOML"), "{error}");
}

#[test]
fn trust_can_be_given_to_one_directory_alone() {
    let machine = Machine::new();
    machine
        .trust("project/inner")
        .write("project/.codex/config.toml", "")
        .write("project/inner/.codex/config.toml", "");
    assert_eq!(
        machine.layers("project/inner"),
        [
            "user home/config.toml",
            "project project/inner/.codex/config.toml"
        ]
    );
}

#[cfg(unix)]
#[test]
fn a_link_to_a_trusted_directory_is_trusted() {
    let machine = Machine::new();
    machine
        .trust("project")
        .write("project/.codex/config.toml", "");
    std::os::unix::fs::symlink(machine.path("project"), machine.path("link")).unwrap();
    assert_eq!(machine.layers("link").len(), 2);
}

#[test]
fn markers_of_ones_own_find_the_root() {
    let machine = Machine::new();
    machine
        .write(
            "home/config.toml",
            &format!(
                "project_root_markers = [\"top\"]\n{ENABLED}[projects.{:?}]\ntrust_level = \"trusted\"\n",
                machine.path("").display().to_string().trim_end_matches('/')
            ),
        )
        .write("top", "")
        .write(".codex/config.toml", "")
        .write("project/.codex/config.toml", "");
    assert_eq!(machine.layers("project").len(), 3);
}

#[test]
fn the_home_is_no_project() {
    let machine = Machine::new();
    machine.write("home/.codex/config.toml", ENABLED);
    let mut environment = machine.environment("home");
    environment.codex_home = Some(machine.path("home/.codex").into_os_string());
    let loaded = LoadedConfig::from_files(
        &Overrides::default(),
        &environment,
        UnixSockets::Unsupported,
    )
    .unwrap();
    assert_eq!(loaded.layers.len(), 1);
    assert_eq!(loaded.warnings, Vec::<String>::new());
}
