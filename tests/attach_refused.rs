//! What lies under a pool's name but is no pool that this build can share: refused with the reason, and left as it was.

mod process_support;

use process_support::{LIMIT, TEST_SECONDS, fd_count, is_root, pool_file, shm_entries, unique, watchdog};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::time::Instant;
use taskring::{Error, Executor, StartMethod};

taskring::test_support!();

/// Words of a pool's first page, where a test changes them: see `layout.rs`.
const MAGIC: u64 = 0;
const FORMAT: u64 = 8;
const SEGMENT_LEN: u64 = 16;
const CAPACITY: u64 = 24;
const PAYLOAD_LEN: u64 = 32;
const PID_NAMESPACE: u64 = 40;
/// Two halves: the number of CPUs, and whether the pool has a name.
const CPUS_AND_NAMED: u64 = 56;
const CONSTANTS_LEN: u64 = 80;

/// A copy of a living pool's file under a name of its own; removed when dropped.
struct Forged {
    name: String,
    path: PathBuf,
}

impl Forged {
    fn new() -> Forged {
        let original = unique("original");
        let builder = Executor::builder().start(StartMethod::None).capacity(8).payload_max(4096);
        let pool = builder.create_named(&original).expect("a pool");
        let forged = Forged::nothing();
        std::fs::copy(pool_file(&original), &forged.path).expect("a copy");
        forged.set_mode(0o600);
        drop(pool);
        forged
    }

    /// A name under which there is nothing yet.
    fn nothing() -> Forged {
        let name = unique("forged");
        Forged { path: pool_file(&name), name }
    }

    fn word(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        std::fs::File::open(&self.path).expect("the file").read_exact_at(&mut bytes, at).expect("a word");
        u64::from_le_bytes(bytes)
    }

    fn set_word(&self, at: u64, value: u64) {
        let file = std::fs::File::options().write(true).open(&self.path).expect("the file");
        file.write_all_at(&value.to_le_bytes(), at).expect("a word");
    }

    fn len(&self) -> u64 {
        std::fs::metadata(&self.path).expect("the file").len()
    }

    fn set_len(&self, len: u64) {
        std::fs::File::options().write(true).open(&self.path).expect("the file").set_len(len).expect("another length");
    }

    fn set_mode(&self, mode: u32) {
        std::fs::set_permissions(&self.path, std::fs::Permissions::from_mode(mode)).expect("another mode");
    }

    fn path_c(&self) -> CString {
        CString::new(self.path.as_os_str().as_bytes()).expect("a path")
    }

    /// Everything that a refusal must leave alone.
    fn look(&self) -> (u32, u32, u64, i64, i64, u64, Vec<u8>) {
        let meta = std::fs::symlink_metadata(&self.path).expect("something there");
        let bytes = if meta.is_file() { std::fs::read(&self.path).expect("its bytes") } else { Vec::new() };
        (meta.uid(), meta.mode(), meta.len(), meta.mtime(), meta.mtime_nsec(), meta.ino(), bytes)
    }

    /// All three ways in are refused for the same reason, at once, and nothing has changed.
    #[track_caller]
    fn assert_refused(&self, wanted: &Error) {
        let before = (self.look(), fd_count(), shm_entries(&self.name));
        let start = Instant::now();
        assert_eq!(Executor::attach(&self.name).map(drop).as_ref(), Err(wanted));
        assert_eq!(taskring::work(&self.name).as_ref(), Err(wanted));
        assert_eq!(taskring::inspect(&self.name).map(drop).as_ref(), Err(wanted));
        assert!(start.elapsed() < LIMIT / 10, "at once, not after {:?}", start.elapsed());
        assert!(before == (self.look(), fd_count(), shm_entries(&self.name)), "something has changed");
    }
}

impl Drop for Forged {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path).or_else(|_| std::fs::remove_dir(&self.path));
    }
}

fn incompatible(what: &'static str, found: impl ToString, wanted: impl ToString) -> Error {
    Error::Incompatible { what, found: found.to_string(), wanted: wanted.to_string() }
}

// The tests of this file count descriptors, so they run as one.
#[test]
fn fault_29_what_is_no_pool_of_this_build_is_refused_with_the_reason_and_left_alone() {
    let _watchdog = watchdog(TEST_SECONDS);
    words();
    sizes();
    modes();
    owners();
    types();
}

fn words() {
    let forged = Forged::new();
    assert!(Executor::attach(&forged.name).is_ok(), "the copy itself is good");

    let forged = Forged::new();
    let magic = forged.word(MAGIC);
    assert_eq!(&magic.to_le_bytes(), b"taskring");
    forged.set_word(MAGIC, 0xbad);
    forged.assert_refused(&incompatible("the magic word", "0xbad", format!("{magic:#x}")));

    let forged = Forged::new();
    let format = forged.word(FORMAT);
    forged.set_word(FORMAT, format ^ 1);
    let what = "the format of the segment (another version or build options)";
    forged.assert_refused(&incompatible(what, format!("{:#x}", format ^ 1), format!("{format:#x}")));

    for bad in [0, 3, 1 << 21, u64::MAX] {
        let forged = Forged::new();
        forged.set_word(CAPACITY, bad);
        forged.assert_refused(&incompatible("the capacity", bad, "a power of two up to 1048576"));
    }
    let forged = Forged::new();
    let len = forged.word(SEGMENT_LEN);
    assert_eq!(len, forged.len());
    forged.set_word(SEGMENT_LEN, len + 4096);
    forged.assert_refused(&incompatible("the segment's length", format!("{:#x}", len + 4096), format!("{len:#x}")));

    let forged = Forged::new();
    forged.set_word(PAYLOAD_LEN, u64::MAX);
    forged.assert_refused(&incompatible("the payload area", u64::MAX, format!("up to {} bytes", 16_u64 << 30)));

    let forged = Forged::new();
    assert_eq!(forged.word(CONSTANTS_LEN), 0);
    forged.set_word(CONSTANTS_LEN, u64::MAX);
    forged.assert_refused(&incompatible("the shared values", u64::MAX, format!("up to {} bytes", 16_u64 << 30)));
    forged.set_word(CONSTANTS_LEN, 1);
    let len = forged.len();
    forged.assert_refused(&incompatible("the segment's length", format!("{len:#x}"), format!("{:#x}", len + 4096)));

    let forged = Forged::new();
    let namespace = forged.word(PID_NAMESPACE);
    forged.set_word(PID_NAMESPACE, namespace + 1);
    let (found, wanted) = (format!("{:#x}", namespace + 1), format!("{namespace:#x}"));
    forged.assert_refused(&incompatible("the PID namespace", found, wanted));

    // The memory of a pool without a name cannot be cut off under a mapping.
    let forged = Forged::new();
    assert_eq!(forged.word(CPUS_AND_NAMED) >> 32, 1);
    forged.set_word(CPUS_AND_NAMED, forged.word(CPUS_AND_NAMED) & 0xffff_ffff);
    forged.assert_refused(&incompatible("the file of a pool without a name", "of a length that may change", "sealed"));
}

fn sizes() {
    let forged = Forged::new();
    let len = forged.len();
    for other in [len - 4096, len + 4096, 4096] {
        forged.set_len(other);
        forged.assert_refused(&incompatible("the file's size", other, len));
    }
    for stub in [0, 40, 79] {
        forged.set_len(stub);
        match Executor::attach(&forged.name).map(drop) {
            Err(e @ Error::Incompatible { what: "the file's size", .. }) => {
                assert!(e.to_string().contains(&format!("is {stub}, wanted at least ")), "{e}");
                forged.assert_refused(&e);
            }
            other => panic!("a file of {stub} bytes: {other:?}"),
        }
    }
}

fn modes() {
    let forged = Forged::new();
    for mode in [0o644, 0o660, 0o602, 0o777] {
        forged.set_mode(mode);
        forged.assert_refused(&incompatible("the file's mode", format!("{mode:o}"), "600"));
    }
}

fn owners() {
    if !is_root("a pool of another user") {
        return;
    }
    let forged = Forged::new();
    std::os::unix::fs::chown(&forged.path, Some(65_534), None).expect("another owner");
    forged.assert_refused(&Error::NotOwner { name: forged.name.clone(), uid: 65_534 });
    let exists = Err(Error::Exists { name: forged.name.clone() });
    let before = forged.look();
    assert_eq!(Executor::create_named(&forged.name).map(drop), exists);
    assert_eq!(taskring::remove_dead(&forged.name).map(drop), exists);
    assert!(before == forged.look(), "something has changed");
}

fn types() {
    let original = Forged::new();
    let link = Forged::nothing();
    std::os::unix::fs::symlink(&original.path, &link.path).expect("a link");
    link.assert_refused(&incompatible("the type of file", "a symbolic link", "a regular file"));
    assert_eq!(Executor::create_named(&link.name).map(drop), Err(Error::Exists { name: link.name.clone() }));

    let pipe = Forged::nothing();
    // SAFETY: the path is a C string that outlives the call.
    assert_eq!(unsafe { libc::mkfifo(pipe.path_c().as_ptr(), 0o600) }, 0);
    pipe.assert_refused(&incompatible("the type of file", "something else", "a regular file"));

    let folder = Forged::nothing();
    std::fs::create_dir(&folder.path).expect("a folder");
    for refused in [Executor::attach(&folder.name).map(drop), taskring::work(&folder.name)] {
        assert!(matches!(refused, Err(Error::Incompatible { .. } | Error::System { .. })), "{refused:?}");
    }
    let created = Executor::create_named(&folder.name).map(drop);
    assert_eq!(created, Err(Error::Exists { name: folder.name.clone() }));

    let nothing = Forged::nothing();
    let missing = Error::NotFound { name: nothing.name.clone() };
    assert_eq!(Executor::attach(&nothing.name).map(drop), Err(missing.clone()));
    assert_eq!(taskring::work(&nothing.name), Err(missing.clone()));
    assert_eq!(taskring::inspect(&nothing.name).map(drop), Err(missing));
}
