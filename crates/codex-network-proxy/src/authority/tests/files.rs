//! How the files come about, what modes they have, and that nothing goes wrong where many do it at once.

use std::fs;
use std::sync::Barrier;
use std::thread;

use super::Home;
use crate::authority::CertificateAuthority;

#[cfg(unix)]
fn mode(path: &std::path::Path) -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    path.metadata().unwrap().mode() & 0o7777
}

#[cfg(unix)]
fn set_mode(path: &std::path::Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn opening_makes_nothing() {
    let home = Home::empty();
    assert!(home.open().unwrap().is_none());
    assert!(!home.directory().exists());
}

#[test]
fn an_authority_is_made_once_and_found_again() {
    let (home, made) = Home::with_authority();
    assert_eq!(home.names(), ["ca.key", "ca.pem"]);
    assert_eq!(
        fs::read_to_string(home.files.certificate()).unwrap(),
        made.certificate_pem()
    );
    let key = fs::read_to_string(home.files.key()).unwrap();
    assert!(
        key.starts_with("-----BEGIN PRIVATE KEY-----\n"),
        "not PKCS#8"
    );
    let again = CertificateAuthority::open_or_create(&home.files).unwrap();
    let opened = home.open().unwrap().unwrap();
    assert_eq!(again.fingerprint(), made.fingerprint());
    assert_eq!(opened.fingerprint(), made.fingerprint());
}

#[cfg(unix)]
#[test]
fn the_key_is_for_its_owner_alone() {
    let (home, _) = Home::with_authority();
    assert_eq!(mode(&home.files.key()), 0o600);
    assert_eq!(mode(&home.directory()), 0o700);
    assert_eq!(mode(&home.files.certificate()) & 0o022, 0);
}

#[test]
fn homes_above_are_made_too() {
    let home = Home::empty();
    let deep = super::AuthorityFiles::in_home(&home.home.path().join("a/.codex"));
    CertificateAuthority::open_or_create(&deep).unwrap();
    assert!(deep.key().is_file());
}

#[cfg(unix)]
#[test]
fn a_key_that_others_may_touch_is_refused() {
    for bits in [0o640, 0o604, 0o660, 0o610, 0o601, 0o644, 0o666] {
        let (home, _) = Home::with_authority();
        set_mode(&home.files.key(), bits);
        let error = home.error();
        let expected = format!(
            "managed MITM CA key HOME/proxy/ca.key must not be group/world accessible (mode={bits:o}; expected <= 600)"
        );
        assert!(error.starts_with(&expected), "{error}");
        assert!(error.contains("chmod 600"), "{error}");
        // Neither mended nor replaced by itself.
        assert!(CertificateAuthority::open_or_create(&home.files).is_err());
        assert_eq!(mode(&home.files.key()), bits);
    }
}

#[cfg(unix)]
#[test]
fn a_key_that_only_its_owner_may_read_is_taken() {
    let (home, _) = Home::with_authority();
    set_mode(&home.files.key(), 0o400);
    assert!(home.open().unwrap().is_some());
}

#[cfg(unix)]
#[test]
fn a_key_behind_a_symlink_is_refused() {
    let (home, _) = Home::with_authority();
    let elsewhere = home.home.path().join("elsewhere");
    fs::rename(home.files.key(), &elsewhere).unwrap();
    for target in [elsewhere, home.home.path().join("nowhere")] {
        let _ = fs::remove_file(home.files.key());
        std::os::unix::fs::symlink(target, home.files.key()).unwrap();
        let error = home.error();
        assert!(
            error.starts_with("refusing to use symlink for managed MITM CA key HOME/proxy/ca.key"),
            "{error}"
        );
    }
}

#[cfg(unix)]
#[test]
fn a_key_that_is_no_file_is_refused_and_holds_nobody_up() {
    use std::os::unix::net::UnixListener;
    type Put = fn(&std::path::Path);
    let puts: [Put; 3] = [
        |path| fs::create_dir(path).unwrap(),
        |path| {
            let made = std::process::Command::new("mkfifo").arg(path).status();
            assert!(made.unwrap().success());
        },
        |path| drop(UnixListener::bind(path).unwrap()),
    ];
    for put in puts {
        let (home, _) = Home::with_authority();
        fs::remove_file(home.files.key()).unwrap();
        put(&home.files.key());
        let error = home.error();
        assert!(
            error.starts_with("managed MITM CA key is not a regular file: HOME/proxy/ca.key"),
            "{error}"
        );
    }
}

#[cfg(unix)]
#[test]
fn a_directory_in_which_others_could_swap_the_key_is_refused() {
    for bits in [0o770, 0o707, 0o777, 0o1777, 0o720] {
        let (home, _) = Home::with_authority();
        set_mode(&home.directory(), bits);
        let error = home.error();
        assert!(
            error.contains("HOME/proxy must not be writable by others"),
            "{error}"
        );
        assert!(error.contains("chmod go-w"), "{error}");
        assert!(CertificateAuthority::open_or_create(&home.files).is_err());
        assert!(CertificateAuthority::rotate(&home.files).is_err());
    }
    let (home, _) = Home::with_authority();
    set_mode(&home.directory(), 0o755);
    assert!(home.open().unwrap().is_some());
}

#[cfg(unix)]
#[test]
fn a_directory_behind_a_symlink_is_refused() {
    let (home, _) = Home::with_authority();
    let elsewhere = home.home.path().join("elsewhere");
    fs::rename(home.directory(), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, home.directory()).unwrap();
    let error = home.error();
    assert!(
        error.starts_with("refusing to use symlink for managed MITM CA directory HOME/proxy"),
        "{error}"
    );
    assert!(CertificateAuthority::rotate(&home.files).is_err());
}

#[test]
fn a_file_in_the_place_of_the_directory_is_an_error() {
    let home = Home::empty();
    fs::write(home.directory(), "").unwrap();
    assert!(
        home.error()
            .starts_with("managed MITM CA directory is not a directory: HOME/proxy")
    );
    assert!(CertificateAuthority::open_or_create(&home.files).is_err());
}

#[test]
fn one_file_alone_is_an_error_and_stays_as_it_is() {
    for lost in ["ca.pem", "ca.key"] {
        let (home, _) = Home::with_authority();
        fs::remove_file(home.directory().join(lost)).unwrap();
        let left = home.names();
        let error = home.error();
        assert!(
            error.starts_with(
                "both managed MITM CA files must exist (cert=HOME/proxy/ca.pem, key=HOME/proxy/ca.key)"
            ),
            "{error}"
        );
        assert!(error.contains("codex-network-proxy ca rotate"), "{error}");
        assert!(CertificateAuthority::open_or_create(&home.files).is_err());
        assert_eq!(home.names(), left);
        // The way out that the error names.
        let rotated = CertificateAuthority::rotate(&home.files).unwrap();
        let opened = home.open().unwrap().unwrap();
        assert_eq!(opened.fingerprint(), rotated.fingerprint());
    }
}

#[test]
fn a_pair_that_is_being_written_is_waited_for() {
    let (home, made) = Home::with_authority();
    for late in [home.files.certificate(), home.files.key()] {
        let aside = home.home.path().join("aside");
        fs::rename(&late, &aside).unwrap();
        let mut pauses = 0;
        let opened =
            CertificateAuthority::open_with(&home.files, std::time::SystemTime::now(), || {
                pauses += 1;
                if pauses == 3 {
                    fs::rename(&aside, &late).unwrap();
                }
                pauses < 5
            });
        assert_eq!(opened.unwrap().unwrap().fingerprint(), made.fingerprint());
        assert_eq!(pauses, 3);
    }
}

#[test]
fn all_who_start_at_once_agree_on_one_authority() {
    for _ in 0..20 {
        let home = Home::empty();
        let start = Barrier::new(8);
        let fingerprints: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        CertificateAuthority::open_or_create(&home.files)
                            .unwrap()
                            .fingerprint()
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert!(fingerprints.iter().all(|one| *one == fingerprints[0]));
        assert_eq!(home.open().unwrap().unwrap().fingerprint(), fingerprints[0]);
        assert_eq!(home.names(), ["ca.key", "ca.pem"]);
    }
}

#[test]
fn a_rotation_makes_another_authority_with_the_same_care() {
    let (home, old) = Home::with_authority();
    let new = CertificateAuthority::rotate(&home.files).unwrap();
    assert_ne!(new.fingerprint(), old.fingerprint());
    assert_eq!(
        home.open().unwrap().unwrap().fingerprint(),
        new.fingerprint()
    );
    assert_eq!(home.names(), ["ca.key", "ca.pem"]);
    #[cfg(unix)]
    assert_eq!(mode(&home.files.key()), 0o600);
}

#[cfg(unix)]
#[test]
fn a_rotation_replaces_a_symlink_and_not_what_it_names() {
    let (home, _) = Home::with_authority();
    let elsewhere = home.home.path().join("elsewhere");
    fs::write(&elsewhere, "precious").unwrap();
    fs::remove_file(home.files.key()).unwrap();
    std::os::unix::fs::symlink(&elsewhere, home.files.key()).unwrap();
    CertificateAuthority::rotate(&home.files).unwrap();
    assert_eq!(fs::read_to_string(elsewhere).unwrap(), "precious");
    assert!(home.open().unwrap().is_some());
}

#[test]
fn readers_see_one_pair_or_another_while_several_rotate() {
    let (home, _) = Home::with_authority();
    let start = Barrier::new(6);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                start.wait();
                for _ in 0..25 {
                    CertificateAuthority::rotate(&home.files).unwrap();
                }
            });
        }
        for _ in 0..4 {
            scope.spawn(|| {
                start.wait();
                for _ in 0..50 {
                    // An authority is only given out if key and certificate belong together.
                    CertificateAuthority::open(&home.files).unwrap().unwrap();
                }
            });
        }
    });
    assert!(home.open().unwrap().is_some());
    assert_eq!(home.names(), ["ca.key", "ca.pem"]);
}

/// Were two to write at once, the key of one could stay beside the certificate of the other.
#[cfg(unix)]
#[test]
fn one_writes_at_a_time() {
    use crate::authority::AuthorityError;
    type Write = fn(&super::AuthorityFiles) -> Result<CertificateAuthority, AuthorityError>;
    for write in [
        CertificateAuthority::rotate as Write,
        CertificateAuthority::open_or_create,
    ] {
        let home = Home::empty();
        home.files.make_directory().unwrap();
        let other_writer = fs::File::open(home.directory()).unwrap();
        other_writer.lock().unwrap();
        thread::scope(|scope| {
            let written = scope.spawn(|| write(&home.files).unwrap().fingerprint());
            // Both files lie ready, and stay aside for as long as the other one writes.
            while home.names().len() < 2 {
                thread::yield_now();
            }
            for _ in 0..1_000 {
                assert!(!home.files.key().exists() && !home.files.certificate().exists());
                thread::yield_now();
            }
            drop(other_writer);
            let written = written.join().unwrap();
            assert_eq!(home.open().unwrap().unwrap().fingerprint(), written);
        });
    }
}

#[test]
fn a_file_that_is_far_too_long_is_not_read() {
    let (home, _) = Home::with_authority();
    fs::write(home.files.certificate(), vec![b'\n'; 65 * 1024]).unwrap();
    assert!(home.error().starts_with("could not read HOME/proxy/ca.pem"));
}
