//! Chooses the shuttle face of the facade in `src/sync.rs`. To the protocol's files `loom` means "in a model".

fn main() {
    println!("cargo::rustc-check-cfg=cfg(loom, shuttle)");
    println!("cargo::rustc-cfg=loom");
    println!("cargo::rustc-cfg=shuttle");
}
