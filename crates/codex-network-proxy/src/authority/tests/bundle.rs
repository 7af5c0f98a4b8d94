//! The bundle: what is in it, and when it is written.

use std::fs;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::Home;
use crate::authority::{AuthorityFiles, CertificateAuthority};

fn root(name: &str) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    made.cert.into()
}

fn certificates(files: &AuthorityFiles) -> Vec<CertificateDer<'static>> {
    let text = fs::read(files.bundle()).unwrap();
    CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .unwrap()
}

#[test]
fn it_holds_the_authority_and_every_root_once() {
    let (home, authority) = Home::with_authority();
    let mut roots = vec![root("a.test"), root("b.test")];
    let own = CertificateDer::from(authority.certificate_der().to_vec());
    let given = [roots.clone(), roots.clone(), vec![own.clone()]].concat();
    let path = authority.write_bundle_with(given, &home.files).unwrap();
    assert_eq!(path, home.files.bundle());
    roots.sort_unstable_by(|one, other| one.cmp(other));
    roots.insert(0, own);
    assert_eq!(certificates(&home.files), roots);
    let text = fs::read_to_string(path).unwrap();
    assert!(!text.contains("PRIVATE"), "a key is in the bundle");
    assert_eq!(home.names(), ["ca-bundle.pem", "ca.key", "ca.pem"]);
}

#[test]
fn without_roots_it_holds_the_authority_alone() {
    let (home, authority) = Home::with_authority();
    authority
        .write_bundle_with(Vec::new(), &home.files)
        .unwrap();
    let own = authority.certificate_der().to_vec();
    assert_eq!(certificates(&home.files), [CertificateDer::from(own)]);
}

#[test]
fn what_is_no_certificate_is_left_out() {
    let (home, authority) = Home::with_authority();
    let mut trailing = root("trailing.test").to_vec();
    trailing.push(0);
    let roots = vec![
        CertificateDer::from(b"no certificate".to_vec()),
        CertificateDer::from(trailing),
        root("good.test"),
    ];
    authority.write_bundle_with(roots, &home.files).unwrap();
    assert_eq!(certificates(&home.files).len(), 2);
}

#[cfg(unix)]
#[test]
fn it_is_written_only_when_it_changes_and_then_as_a_whole() {
    use std::os::unix::fs::MetadataExt as _;
    let (home, authority) = Home::with_authority();
    let roots = vec![root("a.test"), root("b.test")];
    let inode = || home.files.bundle().metadata().unwrap().ino();
    authority
        .write_bundle_with(roots.clone(), &home.files)
        .unwrap();
    // Kept open, so that its number cannot be given to another file.
    let first = fs::File::open(home.files.bundle()).unwrap();
    let number = first.metadata().unwrap().ino();
    let reversed = roots.iter().rev().cloned().collect();
    authority.write_bundle_with(reversed, &home.files).unwrap();
    assert_eq!(inode(), number, "written although nothing changed");
    authority
        .write_bundle_with(vec![root("c.test")], &home.files)
        .unwrap();
    assert_ne!(
        inode(),
        number,
        "written in place, where a reader could see half of it"
    );
}

#[test]
fn a_former_authority_does_not_come_back_by_way_of_the_bundle() {
    let (home, old) = Home::with_authority();
    old.write_bundle_with(vec![root("a.test")], &home.files)
        .unwrap();
    // As when `SSL_CERT_FILE` names the bundle.
    let from_bundle = certificates(&home.files);
    let new = CertificateAuthority::rotate(&home.files).unwrap();
    new.write_bundle_with(from_bundle, &home.files).unwrap();
    let now = certificates(&home.files);
    assert_eq!(now.len(), 2);
    assert_eq!(&*now[0], new.certificate_der());
    assert!(now.iter().all(|root| **root != *old.certificate_der()));
}

#[test]
fn a_root_does_not_get_lost_to_a_file_of_others() {
    let (home, authority) = Home::with_authority();
    let roots = vec![root("a.test"), root("b.test")];
    let copied = crate::authority::certificate::certificate_pem(&roots[0]);
    fs::write(home.files.bundle(), copied).unwrap();
    authority.write_bundle_with(roots, &home.files).unwrap();
    assert_eq!(certificates(&home.files).len(), 3);
}

#[test]
fn the_roots_of_this_machine_are_in_it() {
    let (home, authority) = Home::with_authority();
    authority.write_bundle(&home.files).unwrap();
    let native = rustls_native_certs::load_native_certs().certs;
    let bundle = certificates(&home.files);
    assert!(native.iter().all(|root| bundle.contains(root)));
}

#[test]
fn something_else_under_its_name_is_replaced_or_an_error() {
    let (home, authority) = Home::with_authority();
    fs::write(home.files.bundle(), "no bundle").unwrap();
    authority
        .write_bundle_with(Vec::new(), &home.files)
        .unwrap();
    assert_eq!(certificates(&home.files).len(), 1);
    fs::remove_file(home.files.bundle()).unwrap();
    fs::create_dir(home.files.bundle()).unwrap();
    let error = authority
        .write_bundle_with(Vec::new(), &home.files)
        .unwrap_err();
    assert!(error.to_string().starts_with("could not write "), "{error}");
    assert_eq!(home.names(), ["ca-bundle.pem", "ca.key", "ca.pem"]);
}
