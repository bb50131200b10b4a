//! One word for each idea.
//!
//! - **agent**: the part of a node that holds payloads and runs tasks.
//! - **assignment**: what one node must hold: tasks, and the payloads they need.
//! - **config**: a named object whose payload operators may read back.
//! - **control**: the API that operators use.
//! - **debt**: what a manager's disk still has of dropped terms or of removed objects; paid with a shorter log and a new state file.
//! - **destruction**: what follows a removal, pending until no manager's files have the object any more.
//! - **dispatcher**: the part of a manager that sends each agent its assignment.
//! - **holder**: a node that may have a payload: it was given it, and has not confirmed that it is gone.
//! - **keyring**: the cluster's terms; a **term** wraps data keys.
//! - **manager**: a node that holds the replicated store.
//! - **object**: a secret or a config.
//! - **outcome**: what became of a command: an answer or a refusal.
//! - **payload**: the bytes of one version of an object.
//! - **reference**: a service's use of an object: version, target, owner, mode.
//! - **refill**: to give a manager whose store is damaged everything anew, from the others.
//! - **release**: the proof that a node may get a payload now.
//! - **remnant**: what a deleted task may have left on its node.
//! - **runtime**: what starts a task: the Docker Engine, or a sandboxed process.
//! - **seal**, **open**: encrypt to the keyring, and back.
//! - **secret**: a named object whose payload leaves the managers only towards tasks.
//! - **shelf**: the payloads an agent holds.
//! - **stack**: the services, secrets and configs of one Compose project.
//! - **target**: the path of a delivered file inside the container.
//! - **task**: one instance of a service on one node.
//! - **unlocker**: what opens the root key: a key file, a code on paper, a passphrase, shares, a command, a TPM.
//! - **version**: an immutable payload of an object: v1, v2, …
