//! What the messages of `proto/secretd/v1` consist of, generated: edit those, then run
//! `UPDATE_GENERATED=1 cargo test --test generated`.

use super::{shape::{Field, Shape, Shaped, entry}, v1};

static ADD_TPM_REQUEST: Shape = Shape { size: size_of::<v1::AddTpmRequest>(), fields: &[] };
impl Shaped for v1::AddTpmRequest {
    const SHAPE: &'static Shape = &ADD_TPM_REQUEST;
}

static ADD_TPM_RESPONSE: Shape = Shape { size: size_of::<v1::AddTpmResponse>(), fields: &[(1, Field::One(&TPM_ENTRY))] };
impl Shaped for v1::AddTpmResponse {
    const SHAPE: &'static Shape = &ADD_TPM_RESPONSE;
}

static ADD_UNLOCKER_REQUEST: Shape = Shape { size: size_of::<v1::AddUnlockerRequest>(), fields: &[(1, Field::One(&REQUEST_ID)), (3, Field::One(&PAYLOAD))] };
impl Shaped for v1::AddUnlockerRequest {
    const SHAPE: &'static Shape = &ADD_UNLOCKER_REQUEST;
}

static ADD_UNLOCKER_RESPONSE: Shape = Shape { size: size_of::<v1::AddUnlockerResponse>(), fields: &[(1, Field::One(&UNLOCKER_ENTRY)), (2, Field::Each(&PAYLOAD))] };
impl Shaped for v1::AddUnlockerResponse {
    const SHAPE: &'static Shape = &ADD_UNLOCKER_RESPONSE;
}

static ADMIT_REQUEST: Shape = Shape { size: size_of::<v1::AdmitRequest>(), fields: &[] };
impl Shaped for v1::AdmitRequest {
    const SHAPE: &'static Shape = &ADMIT_REQUEST;
}

static ADMIT_RESPONSE: Shape = Shape { size: size_of::<v1::AdmitResponse>(), fields: &[(2, Field::One(&PAYLOAD)), (3, Field::Each(&UNLOCKER)), (5, Field::Texts), (6, Field::Texts), (7, Field::Each(&RAFT_IDENTITY))] };
impl Shaped for v1::AdmitResponse {
    const SHAPE: &'static Shape = &ADMIT_RESPONSE;
}

static ANSWER: Shape = Shape { size: size_of::<v1::Answer>(), fields: &[(1, Field::One(&ANSWER_DONE)), (2, Field::One(&ANSWER_MADE_OBJECT)), (3, Field::One(&ANSWER_MADE_SERVICE)), (4, Field::One(&ANSWER_ADMITTED_MANAGER))] };
impl Shaped for v1::Answer {
    const SHAPE: &'static Shape = &ANSWER;
}

static ANSWER_ADMITTED_MANAGER: Shape = Shape { size: size_of::<v1::answer::AdmittedManager>(), fields: &[] };
impl Shaped for v1::answer::AdmittedManager {
    const SHAPE: &'static Shape = &ANSWER_ADMITTED_MANAGER;
}

static ANSWER_DONE: Shape = Shape { size: size_of::<v1::answer::Done>(), fields: &[] };
impl Shaped for v1::answer::Done {
    const SHAPE: &'static Shape = &ANSWER_DONE;
}

static ANSWER_MADE_OBJECT: Shape = Shape { size: size_of::<v1::answer::MadeObject>(), fields: &[] };
impl Shaped for v1::answer::MadeObject {
    const SHAPE: &'static Shape = &ANSWER_MADE_OBJECT;
}

static ANSWER_MADE_SERVICE: Shape = Shape { size: size_of::<v1::answer::MadeService>(), fields: &[] };
impl Shaped for v1::answer::MadeService {
    const SHAPE: &'static Shape = &ANSWER_MADE_SERVICE;
}

static ANSWERED: Shape = Shape { size: size_of::<v1::Answered>(), fields: &[(4, Field::Each(&ANSWERED_OUTCOMES_ENTRY))] };
impl Shaped for v1::Answered {
    const SHAPE: &'static Shape = &ANSWERED;
}

static ANSWERED_OUTCOMES_ENTRY: Shape = Shape { size: entry::<u64, v1::Outcome>(), fields: &[(2, Field::One(&OUTCOME))] };

static APPEND_ENTRIES_REQUEST: Shape = Shape { size: size_of::<v1::AppendEntriesRequest>(), fields: &[(2, Field::One(&VOTE)), (3, Field::One(&LOG_ID)), (4, Field::Each(&LOG_ENTRY)), (5, Field::One(&LOG_ID))] };
impl Shaped for v1::AppendEntriesRequest {
    const SHAPE: &'static Shape = &APPEND_ENTRIES_REQUEST;
}

static APPEND_ENTRIES_RESPONSE: Shape = Shape { size: size_of::<v1::AppendEntriesResponse>(), fields: &[(1, Field::One(&APPEND_ENTRIES_RESPONSE_SUCCESS)), (2, Field::One(&APPEND_ENTRIES_RESPONSE_PARTIAL)), (3, Field::One(&APPEND_ENTRIES_RESPONSE_CONFLICT)), (4, Field::One(&VOTE))] };
impl Shaped for v1::AppendEntriesResponse {
    const SHAPE: &'static Shape = &APPEND_ENTRIES_RESPONSE;
}

static APPEND_ENTRIES_RESPONSE_CONFLICT: Shape = Shape { size: size_of::<v1::append_entries_response::Conflict>(), fields: &[] };
impl Shaped for v1::append_entries_response::Conflict {
    const SHAPE: &'static Shape = &APPEND_ENTRIES_RESPONSE_CONFLICT;
}

static APPEND_ENTRIES_RESPONSE_PARTIAL: Shape = Shape { size: size_of::<v1::append_entries_response::Partial>(), fields: &[(1, Field::One(&LOG_ID))] };
impl Shaped for v1::append_entries_response::Partial {
    const SHAPE: &'static Shape = &APPEND_ENTRIES_RESPONSE_PARTIAL;
}

static APPEND_ENTRIES_RESPONSE_SUCCESS: Shape = Shape { size: size_of::<v1::append_entries_response::Success>(), fields: &[] };
impl Shaped for v1::append_entries_response::Success {
    const SHAPE: &'static Shape = &APPEND_ENTRIES_RESPONSE_SUCCESS;
}

static APPLIED: Shape = Shape { size: size_of::<v1::Applied>(), fields: &[(1, Field::One(&LOG_ID)), (2, Field::One(&STORED_MEMBERSHIP))] };
impl Shaped for v1::Applied {
    const SHAPE: &'static Shape = &APPLIED;
}

static ASSIGNED_PAYLOAD: Shape = Shape { size: size_of::<v1::AssignedPayload>(), fields: &[(1, Field::One(&OBJECT_VERSION))] };
impl Shaped for v1::AssignedPayload {
    const SHAPE: &'static Shape = &ASSIGNED_PAYLOAD;
}

static ASSIGNMENT_CHANGE: Shape = Shape { size: size_of::<v1::AssignmentChange>(), fields: &[(1, Field::One(&TASK)), (2, Field::One(&ASSIGNED_PAYLOAD)), (4, Field::One(&OBJECT_VERSION))] };
impl Shaped for v1::AssignmentChange {
    const SHAPE: &'static Shape = &ASSIGNMENT_CHANGE;
}

static ASSIGNMENTS_REQUEST: Shape = Shape { size: size_of::<v1::AssignmentsRequest>(), fields: &[] };
impl Shaped for v1::AssignmentsRequest {
    const SHAPE: &'static Shape = &ASSIGNMENTS_REQUEST;
}

static ASSIGNMENTS_RESPONSE: Shape = Shape { size: size_of::<v1::AssignmentsResponse>(), fields: &[(4, Field::Each(&ASSIGNMENT_CHANGE))] };
impl Shaped for v1::AssignmentsResponse {
    const SHAPE: &'static Shape = &ASSIGNMENTS_RESPONSE;
}

static AUTHORITY_PROGRESS: Shape = Shape { size: size_of::<v1::AuthorityProgress>(), fields: &[(3, Field::Texts)] };
impl Shaped for v1::AuthorityProgress {
    const SHAPE: &'static Shape = &AUTHORITY_PROGRESS;
}

static AUTHORITY_ROTATION: Shape = Shape { size: size_of::<v1::AuthorityRotation>(), fields: &[] };
impl Shaped for v1::AuthorityRotation {
    const SHAPE: &'static Shape = &AUTHORITY_ROTATION;
}

static BACKUP_HEADER: Shape = Shape { size: size_of::<v1::BackupHeader>(), fields: &[(7, Field::Each(&UNLOCKER))] };
impl Shaped for v1::BackupHeader {
    const SHAPE: &'static Shape = &BACKUP_HEADER;
}

static BACKUP_INPUT: Shape = Shape { size: size_of::<v1::BackupInput>(), fields: &[(1, Field::One(&BACKUP_OPENING))] };
impl Shaped for v1::BackupInput {
    const SHAPE: &'static Shape = &BACKUP_INPUT;
}

static BACKUP_OPENING: Shape = Shape { size: size_of::<v1::BackupOpening>(), fields: &[(1, Field::Each(&PAYLOAD))] };
impl Shaped for v1::BackupOpening {
    const SHAPE: &'static Shape = &BACKUP_OPENING;
}

static BACKUP_PART: Shape = Shape { size: size_of::<v1::BackupPart>(), fields: &[(1, Field::One(&SNAPSHOT_HEADER)), (2, Field::One(&SNAPSHOT_ROWS)), (3, Field::One(&SNAPSHOT_END))] };
impl Shaped for v1::BackupPart {
    const SHAPE: &'static Shape = &BACKUP_PART;
}

static BACKUP_STATUS: Shape = Shape { size: size_of::<v1::BackupStatus>(), fields: &[] };
impl Shaped for v1::BackupStatus {
    const SHAPE: &'static Shape = &BACKUP_STATUS;
}

static BACKUP_SUMMARY: Shape = Shape { size: size_of::<v1::BackupSummary>(), fields: &[] };
impl Shaped for v1::BackupSummary {
    const SHAPE: &'static Shape = &BACKUP_SUMMARY;
}

static BATCH: Shape = Shape { size: size_of::<v1::Batch>(), fields: &[(1, Field::Each(&STAMPED))] };
impl Shaped for v1::Batch {
    const SHAPE: &'static Shape = &BATCH;
}

static BODY: Shape = Shape { size: size_of::<v1::Body>(), fields: &[(1, Field::One(&OBJECT_VERSION)), (2, Field::One(&SEALED))] };
impl Shaped for v1::Body {
    const SHAPE: &'static Shape = &BODY;
}

static CERTIFICATE_STATUS: Shape = Shape { size: size_of::<v1::CertificateStatus>(), fields: &[] };
impl Shaped for v1::CertificateStatus {
    const SHAPE: &'static Shape = &CERTIFICATE_STATUS;
}

static CLONED_NODE: Shape = Shape { size: size_of::<v1::ClonedNode>(), fields: &[(5, Field::Texts)] };
impl Shaped for v1::ClonedNode {
    const SHAPE: &'static Shape = &CLONED_NODE;
}

static CLUSTER: Shape = Shape { size: size_of::<v1::Cluster>(), fields: &[(2, Field::One(&META)), (3, Field::One(&CLUSTER_SETTINGS)), (5, Field::One(&SEALED)), (6, Field::Each(&WRAPPED_TERM)), (8, Field::One(&AUTHORITY_ROTATION)), (9, Field::Each(&TOKEN)), (10, Field::Each(&UNLOCKER)), (12, Field::One(&BACKUP_STATUS)), (20, Field::One(&REKEYING)), (21, Field::Each(&FORMER_MANAGER)), (40, Field::One(&ROOT_STATUS))] };
impl Shaped for v1::Cluster {
    const SHAPE: &'static Shape = &CLUSTER;
}

static CLUSTER_INFO: Shape = Shape { size: size_of::<v1::ClusterInfo>(), fields: &[(2, Field::One(&META)), (3, Field::One(&CLUSTER_SETTINGS)), (5, Field::One(&AUTHORITY_PROGRESS)), (6, Field::Each(&TOKEN))] };
impl Shaped for v1::ClusterInfo {
    const SHAPE: &'static Shape = &CLUSTER_INFO;
}

static CLUSTER_SETTINGS: Shape = Shape { size: size_of::<v1::ClusterSettings>(), fields: &[(1, Field::One(&SPAN)), (2, Field::One(&SPAN)), (4, Field::One(&SPAN)), (5, Field::One(&SPAN))] };
impl Shaped for v1::ClusterSettings {
    const SHAPE: &'static Shape = &CLUSTER_SETTINGS;
}

static COMMAND: Shape = Shape { size: size_of::<v1::Command>(), fields: &[(1, Field::Boxed(&COMMAND_FOUND)), (2, Field::One(&COMMAND_CREATE_OBJECT)), (3, Field::One(&COMMAND_SET_OBJECT_LABELS)), (4, Field::One(&COMMAND_REMOVE_OBJECT)), (5, Field::Boxed(&COMMAND_CREATE_SERVICE)), (6, Field::Boxed(&COMMAND_UPDATE_SERVICE)), (7, Field::One(&COMMAND_REMOVE_SERVICE)), (8, Field::One(&COMMAND_CHANGE_TASKS)), (9, Field::One(&COMMAND_REPORT_NODE)), (10, Field::One(&COMMAND_SET_NODE)), (11, Field::One(&COMMAND_ROLL_BACK_SERVICE)), (12, Field::One(&COMMAND_NOTE_UPDATE)), (13, Field::One(&COMMAND_ADD_TOKEN)), (14, Field::One(&COMMAND_JOIN_NODE)), (15, Field::One(&COMMAND_SET_ROLE)), (16, Field::One(&COMMAND_ADMIT_MANAGER)), (17, Field::One(&COMMAND_RETIRE_MANAGER)), (18, Field::One(&COMMAND_REMOVE_NODE)), (19, Field::One(&COMMAND_NOTE_CERTIFICATE)), (20, Field::One(&COMMAND_ROTATE_AUTHORITY)), (21, Field::One(&COMMAND_FINISH_ROTATION)), (22, Field::One(&COMMAND_CHANGE_UNLOCKERS)), (23, Field::One(&COMMAND_REESTABLISH)), (24, Field::One(&COMMAND_NOTE_BACKUP)), (30, Field::One(&COMMAND_ADD_TERM)), (31, Field::One(&COMMAND_REWRAP)), (32, Field::One(&COMMAND_DROP_TERMS)), (33, Field::One(&COMMAND_NOTE_TERMS)), (34, Field::One(&COMMAND_SET_KEY_MAX_AGE)), (50, Field::One(&COMMAND_OPEN_SESSION)), (51, Field::One(&COMMAND_NOTE_COPY)), (52, Field::One(&COMMAND_SET_COME_BACK)), (40, Field::One(&COMMAND_NOTE_DESTROYED)), (41, Field::One(&COMMAND_LEAVE_NODE)), (48, Field::One(&COMMAND_MOVE_MANAGER)), (60, Field::One(&COMMAND_BEGIN_ROOT)), (61, Field::One(&COMMAND_OFFER_ROOT)), (62, Field::One(&COMMAND_NOTE_PREPARED_ROOT)), (63, Field::One(&COMMAND_ROTATE_ROOT)), (64, Field::One(&COMMAND_NOTE_ROOT))] };
impl Shaped for v1::Command {
    const SHAPE: &'static Shape = &COMMAND;
}

static COMMAND_ADD_TERM: Shape = Shape { size: size_of::<v1::command::AddTerm>(), fields: &[(1, Field::One(&WRAPPED_TERM))] };
impl Shaped for v1::command::AddTerm {
    const SHAPE: &'static Shape = &COMMAND_ADD_TERM;
}

static COMMAND_ADD_TOKEN: Shape = Shape { size: size_of::<v1::command::AddToken>(), fields: &[(1, Field::One(&TOKEN))] };
impl Shaped for v1::command::AddToken {
    const SHAPE: &'static Shape = &COMMAND_ADD_TOKEN;
}

static COMMAND_ADMIT_MANAGER: Shape = Shape { size: size_of::<v1::command::AdmitManager>(), fields: &[] };
impl Shaped for v1::command::AdmitManager {
    const SHAPE: &'static Shape = &COMMAND_ADMIT_MANAGER;
}

static COMMAND_BEGIN_ROOT: Shape = Shape { size: size_of::<v1::command::BeginRoot>(), fields: &[] };
impl Shaped for v1::command::BeginRoot {
    const SHAPE: &'static Shape = &COMMAND_BEGIN_ROOT;
}

static COMMAND_CHANGE_TASKS: Shape = Shape { size: size_of::<v1::command::ChangeTasks>(), fields: &[(1, Field::Each(&TASK_CHANGE))] };
impl Shaped for v1::command::ChangeTasks {
    const SHAPE: &'static Shape = &COMMAND_CHANGE_TASKS;
}

static COMMAND_CHANGE_UNLOCKERS: Shape = Shape { size: size_of::<v1::command::ChangeUnlockers>(), fields: &[(1, Field::Each(&UNLOCKER)), (2, Field::Texts)] };
impl Shaped for v1::command::ChangeUnlockers {
    const SHAPE: &'static Shape = &COMMAND_CHANGE_UNLOCKERS;
}

static COMMAND_CREATE_OBJECT: Shape = Shape { size: size_of::<v1::command::CreateObject>(), fields: &[(4, Field::Each(&COMMAND_CREATE_OBJECT_LABELS_ENTRY)), (6, Field::One(&SEALED))] };
impl Shaped for v1::command::CreateObject {
    const SHAPE: &'static Shape = &COMMAND_CREATE_OBJECT;
}

static COMMAND_CREATE_OBJECT_LABELS_ENTRY: Shape = Shape { size: entry::<String, String>(), fields: &[] };

static COMMAND_CREATE_SERVICE: Shape = Shape { size: size_of::<v1::command::CreateService>(), fields: &[(2, Field::One(&SERVICE_SPEC))] };
impl Shaped for v1::command::CreateService {
    const SHAPE: &'static Shape = &COMMAND_CREATE_SERVICE;
}

static COMMAND_DROP_TERMS: Shape = Shape { size: size_of::<v1::command::DropTerms>(), fields: &[] };
impl Shaped for v1::command::DropTerms {
    const SHAPE: &'static Shape = &COMMAND_DROP_TERMS;
}

static COMMAND_FINISH_ROTATION: Shape = Shape { size: size_of::<v1::command::FinishRotation>(), fields: &[] };
impl Shaped for v1::command::FinishRotation {
    const SHAPE: &'static Shape = &COMMAND_FINISH_ROTATION;
}

static COMMAND_FOUND: Shape = Shape { size: size_of::<v1::command::Found>(), fields: &[(1, Field::One(&CLUSTER)), (2, Field::One(&NODE_INFO))] };
impl Shaped for v1::command::Found {
    const SHAPE: &'static Shape = &COMMAND_FOUND;
}

static COMMAND_JOIN_NODE: Shape = Shape { size: size_of::<v1::command::JoinNode>(), fields: &[(2, Field::One(&NODE_INFO))] };
impl Shaped for v1::command::JoinNode {
    const SHAPE: &'static Shape = &COMMAND_JOIN_NODE;
}

static COMMAND_LEAVE_NODE: Shape = Shape { size: size_of::<v1::command::LeaveNode>(), fields: &[] };
impl Shaped for v1::command::LeaveNode {
    const SHAPE: &'static Shape = &COMMAND_LEAVE_NODE;
}

static COMMAND_MOVE_MANAGER: Shape = Shape { size: size_of::<v1::command::MoveManager>(), fields: &[] };
impl Shaped for v1::command::MoveManager {
    const SHAPE: &'static Shape = &COMMAND_MOVE_MANAGER;
}

static COMMAND_NOTE_BACKUP: Shape = Shape { size: size_of::<v1::command::NoteBackup>(), fields: &[(1, Field::One(&BACKUP_STATUS))] };
impl Shaped for v1::command::NoteBackup {
    const SHAPE: &'static Shape = &COMMAND_NOTE_BACKUP;
}

static COMMAND_NOTE_CERTIFICATE: Shape = Shape { size: size_of::<v1::command::NoteCertificate>(), fields: &[(2, Field::One(&CERTIFICATE_STATUS)), (3, Field::One(&COMMAND_SHOWN_KEY))] };
impl Shaped for v1::command::NoteCertificate {
    const SHAPE: &'static Shape = &COMMAND_NOTE_CERTIFICATE;
}

static COMMAND_NOTE_COPY: Shape = Shape { size: size_of::<v1::command::NoteCopy>(), fields: &[] };
impl Shaped for v1::command::NoteCopy {
    const SHAPE: &'static Shape = &COMMAND_NOTE_COPY;
}

static COMMAND_NOTE_DESTROYED: Shape = Shape { size: size_of::<v1::command::NoteDestroyed>(), fields: &[(2, Field::Texts)] };
impl Shaped for v1::command::NoteDestroyed {
    const SHAPE: &'static Shape = &COMMAND_NOTE_DESTROYED;
}

static COMMAND_NOTE_PREPARED_ROOT: Shape = Shape { size: size_of::<v1::command::NotePreparedRoot>(), fields: &[] };
impl Shaped for v1::command::NotePreparedRoot {
    const SHAPE: &'static Shape = &COMMAND_NOTE_PREPARED_ROOT;
}

static COMMAND_NOTE_ROOT: Shape = Shape { size: size_of::<v1::command::NoteRoot>(), fields: &[] };
impl Shaped for v1::command::NoteRoot {
    const SHAPE: &'static Shape = &COMMAND_NOTE_ROOT;
}

static COMMAND_NOTE_TERMS: Shape = Shape { size: size_of::<v1::command::NoteTerms>(), fields: &[] };
impl Shaped for v1::command::NoteTerms {
    const SHAPE: &'static Shape = &COMMAND_NOTE_TERMS;
}

static COMMAND_NOTE_UPDATE: Shape = Shape { size: size_of::<v1::command::NoteUpdate>(), fields: &[(3, Field::One(&UPDATE_STATUS))] };
impl Shaped for v1::command::NoteUpdate {
    const SHAPE: &'static Shape = &COMMAND_NOTE_UPDATE;
}

static COMMAND_OFFER_ROOT: Shape = Shape { size: size_of::<v1::command::OfferRoot>(), fields: &[(1, Field::One(&ROOT_OFFER))] };
impl Shaped for v1::command::OfferRoot {
    const SHAPE: &'static Shape = &COMMAND_OFFER_ROOT;
}

static COMMAND_OPEN_SESSION: Shape = Shape { size: size_of::<v1::command::OpenSession>(), fields: &[(2, Field::One(&NODE_DESCRIPTION)), (3, Field::One(&NODE_STATUS)), (4, Field::One(&COMMAND_SHOWN_KEY))] };
impl Shaped for v1::command::OpenSession {
    const SHAPE: &'static Shape = &COMMAND_OPEN_SESSION;
}

static COMMAND_REESTABLISH: Shape = Shape { size: size_of::<v1::command::Reestablish>(), fields: &[(1, Field::One(&NODE_INFO))] };
impl Shaped for v1::command::Reestablish {
    const SHAPE: &'static Shape = &COMMAND_REESTABLISH;
}

static COMMAND_REMOVE_NODE: Shape = Shape { size: size_of::<v1::command::RemoveNode>(), fields: &[] };
impl Shaped for v1::command::RemoveNode {
    const SHAPE: &'static Shape = &COMMAND_REMOVE_NODE;
}

static COMMAND_REMOVE_OBJECT: Shape = Shape { size: size_of::<v1::command::RemoveObject>(), fields: &[] };
impl Shaped for v1::command::RemoveObject {
    const SHAPE: &'static Shape = &COMMAND_REMOVE_OBJECT;
}

static COMMAND_REMOVE_SERVICE: Shape = Shape { size: size_of::<v1::command::RemoveService>(), fields: &[] };
impl Shaped for v1::command::RemoveService {
    const SHAPE: &'static Shape = &COMMAND_REMOVE_SERVICE;
}

static COMMAND_REPORT_NODE: Shape = Shape { size: size_of::<v1::command::ReportNode>(), fields: &[(2, Field::One(&NODE_DESCRIPTION)), (3, Field::One(&NODE_STATUS))] };
impl Shaped for v1::command::ReportNode {
    const SHAPE: &'static Shape = &COMMAND_REPORT_NODE;
}

static COMMAND_RETIRE_MANAGER: Shape = Shape { size: size_of::<v1::command::RetireManager>(), fields: &[] };
impl Shaped for v1::command::RetireManager {
    const SHAPE: &'static Shape = &COMMAND_RETIRE_MANAGER;
}

static COMMAND_REWRAP: Shape = Shape { size: size_of::<v1::command::Rewrap>(), fields: &[(2, Field::Each(&COMMAND_REWRAP_KEY)), (3, Field::One(&COMMAND_REWRAP_AUTHORITY))] };
impl Shaped for v1::command::Rewrap {
    const SHAPE: &'static Shape = &COMMAND_REWRAP;
}

static COMMAND_REWRAP_AUTHORITY: Shape = Shape { size: size_of::<v1::command::rewrap::Authority>(), fields: &[] };
impl Shaped for v1::command::rewrap::Authority {
    const SHAPE: &'static Shape = &COMMAND_REWRAP_AUTHORITY;
}

static COMMAND_REWRAP_KEY: Shape = Shape { size: size_of::<v1::command::rewrap::Key>(), fields: &[(1, Field::One(&OBJECT_VERSION))] };
impl Shaped for v1::command::rewrap::Key {
    const SHAPE: &'static Shape = &COMMAND_REWRAP_KEY;
}

static COMMAND_ROLL_BACK_SERVICE: Shape = Shape { size: size_of::<v1::command::RollBackService>(), fields: &[] };
impl Shaped for v1::command::RollBackService {
    const SHAPE: &'static Shape = &COMMAND_ROLL_BACK_SERVICE;
}

static COMMAND_ROTATE_AUTHORITY: Shape = Shape { size: size_of::<v1::command::RotateAuthority>(), fields: &[(2, Field::One(&SEALED)), (3, Field::One(&AUTHORITY_ROTATION))] };
impl Shaped for v1::command::RotateAuthority {
    const SHAPE: &'static Shape = &COMMAND_ROTATE_AUTHORITY;
}

static COMMAND_ROTATE_ROOT: Shape = Shape { size: size_of::<v1::command::RotateRoot>(), fields: &[(2, Field::Each(&WRAPPED_TERM)), (3, Field::Each(&UNLOCKER))] };
impl Shaped for v1::command::RotateRoot {
    const SHAPE: &'static Shape = &COMMAND_ROTATE_ROOT;
}

static COMMAND_SET_COME_BACK: Shape = Shape { size: size_of::<v1::command::SetComeBack>(), fields: &[(1, Field::One(&SPAN))] };
impl Shaped for v1::command::SetComeBack {
    const SHAPE: &'static Shape = &COMMAND_SET_COME_BACK;
}

static COMMAND_SET_KEY_MAX_AGE: Shape = Shape { size: size_of::<v1::command::SetKeyMaxAge>(), fields: &[(1, Field::One(&SPAN))] };
impl Shaped for v1::command::SetKeyMaxAge {
    const SHAPE: &'static Shape = &COMMAND_SET_KEY_MAX_AGE;
}

static COMMAND_SET_NODE: Shape = Shape { size: size_of::<v1::command::SetNode>(), fields: &[(4, Field::Each(&COMMAND_SET_NODE_LABELS_ENTRY))] };
impl Shaped for v1::command::SetNode {
    const SHAPE: &'static Shape = &COMMAND_SET_NODE;
}

static COMMAND_SET_NODE_LABELS_ENTRY: Shape = Shape { size: entry::<String, String>(), fields: &[] };

static COMMAND_SET_OBJECT_LABELS: Shape = Shape { size: size_of::<v1::command::SetObjectLabels>(), fields: &[(4, Field::Each(&COMMAND_SET_OBJECT_LABELS_LABELS_ENTRY))] };
impl Shaped for v1::command::SetObjectLabels {
    const SHAPE: &'static Shape = &COMMAND_SET_OBJECT_LABELS;
}

static COMMAND_SET_OBJECT_LABELS_LABELS_ENTRY: Shape = Shape { size: entry::<String, String>(), fields: &[] };

static COMMAND_SET_ROLE: Shape = Shape { size: size_of::<v1::command::SetRole>(), fields: &[] };
impl Shaped for v1::command::SetRole {
    const SHAPE: &'static Shape = &COMMAND_SET_ROLE;
}

static COMMAND_SHOWN_KEY: Shape = Shape { size: size_of::<v1::command::ShownKey>(), fields: &[] };
impl Shaped for v1::command::ShownKey {
    const SHAPE: &'static Shape = &COMMAND_SHOWN_KEY;
}

static COMMAND_UPDATE_SERVICE: Shape = Shape { size: size_of::<v1::command::UpdateService>(), fields: &[(3, Field::One(&SERVICE_SPEC))] };
impl Shaped for v1::command::UpdateService {
    const SHAPE: &'static Shape = &COMMAND_UPDATE_SERVICE;
}

static COMPARE_REQUEST: Shape = Shape { size: size_of::<v1::CompareRequest>(), fields: &[(2, Field::One(&STANDING)), (3, Field::One(&KNOWN))] };
impl Shaped for v1::CompareRequest {
    const SHAPE: &'static Shape = &COMPARE_REQUEST;
}

static COMPARE_RESPONSE: Shape = Shape { size: size_of::<v1::CompareResponse>(), fields: &[(1, Field::One(&STANDING)), (2, Field::One(&KNOWN))] };
impl Shaped for v1::CompareResponse {
    const SHAPE: &'static Shape = &COMPARE_RESPONSE;
}

static CONSTRAINT: Shape = Shape { size: size_of::<v1::Constraint>(), fields: &[] };
impl Shaped for v1::Constraint {
    const SHAPE: &'static Shape = &CONSTRAINT;
}

static CONTACTS_REQUEST: Shape = Shape { size: size_of::<v1::ContactsRequest>(), fields: &[] };
impl Shaped for v1::ContactsRequest {
    const SHAPE: &'static Shape = &CONTACTS_REQUEST;
}

static CONTACTS_RESPONSE: Shape = Shape { size: size_of::<v1::ContactsResponse>(), fields: &[(1, Field::Each(&CONTACTS_RESPONSE_CONTACTS_ENTRY))] };
impl Shaped for v1::ContactsResponse {
    const SHAPE: &'static Shape = &CONTACTS_RESPONSE;
}

static CONTACTS_RESPONSE_CONTACT: Shape = Shape { size: size_of::<v1::contacts_response::Contact>(), fields: &[] };
impl Shaped for v1::contacts_response::Contact {
    const SHAPE: &'static Shape = &CONTACTS_RESPONSE_CONTACT;
}

static CONTACTS_RESPONSE_CONTACTS_ENTRY: Shape = Shape { size: entry::<u64, v1::contacts_response::Contact>(), fields: &[(2, Field::One(&CONTACTS_RESPONSE_CONTACT))] };

static CONTAINER_SPEC: Shape = Shape { size: size_of::<v1::ContainerSpec>(), fields: &[(2, Field::Texts), (3, Field::Texts), (4, Field::Texts), (5, Field::Each(&CONTAINER_SPEC_LABELS_ENTRY)), (8, Field::Texts), (14, Field::One(&SPAN)), (15, Field::Each(&MOUNT)), (16, Field::One(&HEALTHCHECK)), (17, Field::Texts), (18, Field::Texts), (19, Field::Texts)] };
impl Shaped for v1::ContainerSpec {
    const SHAPE: &'static Shape = &CONTAINER_SPEC;
}

static CONTAINER_SPEC_LABELS_ENTRY: Shape = Shape { size: entry::<String, String>(), fields: &[] };

static CREATE_BACKUP_REQUEST: Shape = Shape { size: size_of::<v1::CreateBackupRequest>(), fields: &[(1, Field::One(&PAYLOAD))] };
impl Shaped for v1::CreateBackupRequest {
    const SHAPE: &'static Shape = &CREATE_BACKUP_REQUEST;
}

static CREATE_BACKUP_RESPONSE: Shape = Shape { size: size_of::<v1::CreateBackupResponse>(), fields: &[(2, Field::One(&PAYLOAD))] };
impl Shaped for v1::CreateBackupResponse {
    const SHAPE: &'static Shape = &CREATE_BACKUP_RESPONSE;
}

static CREATE_JOIN_TOKEN_REQUEST: Shape = Shape { size: size_of::<v1::CreateJoinTokenRequest>(), fields: &[(1, Field::One(&REQUEST_ID)), (4, Field::One(&SPAN))] };
impl Shaped for v1::CreateJoinTokenRequest {
    const SHAPE: &'static Shape = &CREATE_JOIN_TOKEN_REQUEST;
}

static CREATE_JOIN_TOKEN_RESPONSE: Shape = Shape { size: size_of::<v1::CreateJoinTokenResponse>(), fields: &[(1, Field::One(&PAYLOAD)), (2, Field::Each(&MANAGER_ADDR))] };
impl Shaped for v1::CreateJoinTokenResponse {
    const SHAPE: &'static Shape = &CREATE_JOIN_TOKEN_RESPONSE;
}

static CREATE_OBJECT_REQUEST: Shape = Shape { size: size_of::<v1::CreateObjectRequest>(), fields: &[(1, Field::One(&REQUEST_ID)), (4, Field::Each(&CREATE_OBJECT_REQUEST_LABELS_ENTRY)), (5, Field::One(&PAYLOAD))] };
impl Shaped for v1::CreateObjectRequest {
    const SHAPE: &'static Shape = &CREATE_OBJECT_REQUEST;
}

static CREATE_OBJECT_REQUEST_LABELS_ENTRY: Shape = Shape { size: entry::<String, String>(), fields: &[] };

static CREATE_OBJECT_RESPONSE: Shape = Shape { size: size_of::<v1::CreateObjectResponse>(), fields: &[] };
impl Shaped for v1::CreateObjectResponse {
    const SHAPE: &'static Shape = &CREATE_OBJECT_RESPONSE;
}

static CREATE_SERVICE_REQUEST: Shape = Shape { size: size_of::<v1::CreateServiceRequest>(), fields: &[(1, Field::One(&REQUEST_ID)), (2, Field::One(&SERVICE_SPEC))] };
impl Shaped for v1::CreateServiceRequest {
    const SHAPE: &'static Shape = &CREATE_SERVICE_REQUEST;
}

static CREATE_SERVICE_RESPONSE: Shape = Shape { size: size_of::<v1::CreateServiceResponse>(), fields: &[] };
impl Shaped for v1::CreateServiceResponse {
    const SHAPE: &'static Shape = &CREATE_SERVICE_RESPONSE;
}

static DEPART_REQUEST: Shape = Shape { size: size_of::<v1::DepartRequest>(), fields: &[] };
impl Shaped for v1::DepartRequest {
    const SHAPE: &'static Shape = &DEPART_REQUEST;
}

static DEPART_RESPONSE: Shape = Shape { size: size_of::<v1::DepartResponse>(), fields: &[] };
impl Shaped for v1::DepartResponse {
    const SHAPE: &'static Shape = &DEPART_RESPONSE;
}

static DESTROYED: Shape = Shape { size: size_of::<v1::Destroyed>(), fields: &[(6, Field::Texts)] };
impl Shaped for v1::Destroyed {
    const SHAPE: &'static Shape = &DESTROYED;
}

static DESTROYED_ENTRY: Shape = Shape { size: size_of::<v1::DestroyedEntry>(), fields: &[(1, Field::One(&DESTROYED)), (3, Field::Each(&DESTROYED_ENTRY_MANAGER))] };
impl Shaped for v1::DestroyedEntry {
    const SHAPE: &'static Shape = &DESTROYED_ENTRY;
}

static DESTROYED_ENTRY_MANAGER: Shape = Shape { size: size_of::<v1::destroyed_entry::Manager>(), fields: &[] };
impl Shaped for v1::destroyed_entry::Manager {
    const SHAPE: &'static Shape = &DESTROYED_ENTRY_MANAGER;
}

static ENTITY: Shape = Shape { size: size_of::<v1::Entity>(), fields: &[(1, Field::One(&CLUSTER)), (2, Field::One(&NODE_INFO)), (3, Field::One(&OBJECT)), (4, Field::One(&SERVICE)), (5, Field::One(&TASK)), (6, Field::One(&ANSWERED)), (7, Field::One(&REMNANT)), (10, Field::One(&DESTROYED))] };
impl Shaped for v1::Entity {
    const SHAPE: &'static Shape = &ENTITY;
}

static FELLOWS: Shape = Shape { size: size_of::<v1::Fellows>(), fields: &[(1, Field::Each(&RAFT_IDENTITY))] };
impl Shaped for v1::Fellows {
    const SHAPE: &'static Shape = &FELLOWS;
}

static FILTER: Shape = Shape { size: size_of::<v1::Filter>(), fields: &[] };
impl Shaped for v1::Filter {
    const SHAPE: &'static Shape = &FILTER;
}

static FORMER_MANAGER: Shape = Shape { size: size_of::<v1::FormerManager>(), fields: &[] };
impl Shaped for v1::FormerManager {
    const SHAPE: &'static Shape = &FORMER_MANAGER;
}

static GET_CLUSTER_REQUEST: Shape = Shape { size: size_of::<v1::GetClusterRequest>(), fields: &[] };
impl Shaped for v1::GetClusterRequest {
    const SHAPE: &'static Shape = &GET_CLUSTER_REQUEST;
}

static GET_CONFIG_DATA_REQUEST: Shape = Shape { size: size_of::<v1::GetConfigDataRequest>(), fields: &[] };
impl Shaped for v1::GetConfigDataRequest {
    const SHAPE: &'static Shape = &GET_CONFIG_DATA_REQUEST;
}

static GET_CONFIG_DATA_RESPONSE: Shape = Shape { size: size_of::<v1::GetConfigDataResponse>(), fields: &[(1, Field::One(&OBJECT)), (3, Field::One(&PAYLOAD))] };
impl Shaped for v1::GetConfigDataResponse {
    const SHAPE: &'static Shape = &GET_CONFIG_DATA_RESPONSE;
}

static GET_KEYS_REQUEST: Shape = Shape { size: size_of::<v1::GetKeysRequest>(), fields: &[] };
impl Shaped for v1::GetKeysRequest {
    const SHAPE: &'static Shape = &GET_KEYS_REQUEST;
}

static GET_NODE_REQUEST: Shape = Shape { size: size_of::<v1::GetNodeRequest>(), fields: &[] };
impl Shaped for v1::GetNodeRequest {
    const SHAPE: &'static Shape = &GET_NODE_REQUEST;
}

static GET_OBJECT_REQUEST: Shape = Shape { size: size_of::<v1::GetObjectRequest>(), fields: &[] };
impl Shaped for v1::GetObjectRequest {
    const SHAPE: &'static Shape = &GET_OBJECT_REQUEST;
}

static GET_SERVICE_REQUEST: Shape = Shape { size: size_of::<v1::GetServiceRequest>(), fields: &[] };
impl Shaped for v1::GetServiceRequest {
    const SHAPE: &'static Shape = &GET_SERVICE_REQUEST;
}

static GET_TASK_REQUEST: Shape = Shape { size: size_of::<v1::GetTaskRequest>(), fields: &[] };
impl Shaped for v1::GetTaskRequest {
    const SHAPE: &'static Shape = &GET_TASK_REQUEST;
}

static HEALTHCHECK: Shape = Shape { size: size_of::<v1::Healthcheck>(), fields: &[(1, Field::Texts), (2, Field::One(&SPAN)), (3, Field::One(&SPAN)), (4, Field::One(&SPAN))] };
impl Shaped for v1::Healthcheck {
    const SHAPE: &'static Shape = &HEALTHCHECK;
}

static HEARTBEAT_REQUEST: Shape = Shape { size: size_of::<v1::HeartbeatRequest>(), fields: &[] };
impl Shaped for v1::HeartbeatRequest {
    const SHAPE: &'static Shape = &HEARTBEAT_REQUEST;
}

static HEARTBEAT_RESPONSE: Shape = Shape { size: size_of::<v1::HeartbeatResponse>(), fields: &[(1, Field::One(&SPAN))] };
impl Shaped for v1::HeartbeatResponse {
    const SHAPE: &'static Shape = &HEARTBEAT_RESPONSE;
}

static HOLDER: Shape = Shape { size: size_of::<v1::Holder>(), fields: &[(4, Field::One(&OBJECT_VERSION)), (7, Field::Texts)] };
impl Shaped for v1::Holder {
    const SHAPE: &'static Shape = &HOLDER;
}

static INIT_REQUEST: Shape = Shape { size: size_of::<v1::InitRequest>(), fields: &[] };
impl Shaped for v1::InitRequest {
    const SHAPE: &'static Shape = &INIT_REQUEST;
}

static INIT_RESPONSE: Shape = Shape { size: size_of::<v1::InitResponse>(), fields: &[(3, Field::One(&PAYLOAD))] };
impl Shaped for v1::InitResponse {
    const SHAPE: &'static Shape = &INIT_RESPONSE;
}

static INSTALL_SNAPSHOT_REQUEST: Shape = Shape { size: size_of::<v1::InstallSnapshotRequest>(), fields: &[(1, Field::One(&INSTALL_SNAPSHOT_REQUEST_START)), (2, Field::One(&SNAPSHOT_ROWS)), (3, Field::One(&SNAPSHOT_END))] };
impl Shaped for v1::InstallSnapshotRequest {
    const SHAPE: &'static Shape = &INSTALL_SNAPSHOT_REQUEST;
}

static INSTALL_SNAPSHOT_REQUEST_START: Shape = Shape { size: size_of::<v1::install_snapshot_request::Start>(), fields: &[(2, Field::One(&VOTE)), (3, Field::One(&SNAPSHOT_HEADER))] };
impl Shaped for v1::install_snapshot_request::Start {
    const SHAPE: &'static Shape = &INSTALL_SNAPSHOT_REQUEST_START;
}

static INSTALL_SNAPSHOT_RESPONSE: Shape = Shape { size: size_of::<v1::InstallSnapshotResponse>(), fields: &[(1, Field::One(&VOTE))] };
impl Shaped for v1::InstallSnapshotResponse {
    const SHAPE: &'static Shape = &INSTALL_SNAPSHOT_RESPONSE;
}

static ISSUE_REQUEST: Shape = Shape { size: size_of::<v1::IssueRequest>(), fields: &[(1, Field::One(&PAYLOAD)), (3, Field::One(&NODE_DESCRIPTION))] };
impl Shaped for v1::IssueRequest {
    const SHAPE: &'static Shape = &ISSUE_REQUEST;
}

static ISSUE_RESPONSE: Shape = Shape { size: size_of::<v1::IssueResponse>(), fields: &[(3, Field::Texts), (4, Field::Texts), (6, Field::Each(&MANAGER_ADDR))] };
impl Shaped for v1::IssueResponse {
    const SHAPE: &'static Shape = &ISSUE_RESPONSE;
}

static JOIN_REQUEST: Shape = Shape { size: size_of::<v1::JoinRequest>(), fields: &[(3, Field::Texts), (4, Field::One(&PAYLOAD))] };
impl Shaped for v1::JoinRequest {
    const SHAPE: &'static Shape = &JOIN_REQUEST;
}

static JOIN_RESPONSE: Shape = Shape { size: size_of::<v1::JoinResponse>(), fields: &[] };
impl Shaped for v1::JoinResponse {
    const SHAPE: &'static Shape = &JOIN_RESPONSE;
}

static KEYS_RESPONSE: Shape = Shape { size: size_of::<v1::KeysResponse>(), fields: &[(1, Field::Each(&KEYS_RESPONSE_TERM)), (2, Field::One(&REWRAPPING)), (4, Field::One(&SPAN)), (5, Field::Each(&KEYS_RESPONSE_MANAGER)), (8, Field::One(&KEYS_RESPONSE_ROOT))] };
impl Shaped for v1::KeysResponse {
    const SHAPE: &'static Shape = &KEYS_RESPONSE;
}

static KEYS_RESPONSE_MANAGER: Shape = Shape { size: size_of::<v1::keys_response::Manager>(), fields: &[] };
impl Shaped for v1::keys_response::Manager {
    const SHAPE: &'static Shape = &KEYS_RESPONSE_MANAGER;
}

static KEYS_RESPONSE_ROOT: Shape = Shape { size: size_of::<v1::keys_response::Root>(), fields: &[] };
impl Shaped for v1::keys_response::Root {
    const SHAPE: &'static Shape = &KEYS_RESPONSE_ROOT;
}

static KEYS_RESPONSE_TERM: Shape = Shape { size: size_of::<v1::keys_response::Term>(), fields: &[] };
impl Shaped for v1::keys_response::Term {
    const SHAPE: &'static Shape = &KEYS_RESPONSE_TERM;
}

static KNOWN: Shape = Shape { size: size_of::<v1::Known>(), fields: &[(1, Field::One(&LOG_ID)), (2, Field::One(&VOTE))] };
impl Shaped for v1::Known {
    const SHAPE: &'static Shape = &KNOWN;
}

static LEAVE_REQUEST: Shape = Shape { size: size_of::<v1::LeaveRequest>(), fields: &[] };
impl Shaped for v1::LeaveRequest {
    const SHAPE: &'static Shape = &LEAVE_REQUEST;
}

static LEAVE_RESPONSE: Shape = Shape { size: size_of::<v1::LeaveResponse>(), fields: &[] };
impl Shaped for v1::LeaveResponse {
    const SHAPE: &'static Shape = &LEAVE_RESPONSE;
}

static LIST_DESTROYED_REQUEST: Shape = Shape { size: size_of::<v1::ListDestroyedRequest>(), fields: &[] };
impl Shaped for v1::ListDestroyedRequest {
    const SHAPE: &'static Shape = &LIST_DESTROYED_REQUEST;
}

static LIST_DESTROYED_RESPONSE: Shape = Shape { size: size_of::<v1::ListDestroyedResponse>(), fields: &[(1, Field::Each(&DESTROYED_ENTRY))] };
impl Shaped for v1::ListDestroyedResponse {
    const SHAPE: &'static Shape = &LIST_DESTROYED_RESPONSE;
}

static LIST_HOLDERS_REQUEST: Shape = Shape { size: size_of::<v1::ListHoldersRequest>(), fields: &[(3, Field::One(&PAGE))] };
impl Shaped for v1::ListHoldersRequest {
    const SHAPE: &'static Shape = &LIST_HOLDERS_REQUEST;
}

static LIST_HOLDERS_RESPONSE: Shape = Shape { size: size_of::<v1::ListHoldersResponse>(), fields: &[(1, Field::Each(&HOLDER))] };
impl Shaped for v1::ListHoldersResponse {
    const SHAPE: &'static Shape = &LIST_HOLDERS_RESPONSE;
}

static LIST_NODES_REQUEST: Shape = Shape { size: size_of::<v1::ListNodesRequest>(), fields: &[(1, Field::Each(&FILTER)), (2, Field::One(&PAGE))] };
impl Shaped for v1::ListNodesRequest {
    const SHAPE: &'static Shape = &LIST_NODES_REQUEST;
}

static LIST_NODES_RESPONSE: Shape = Shape { size: size_of::<v1::ListNodesResponse>(), fields: &[(1, Field::Each(&NODE_ENTRY))] };
impl Shaped for v1::ListNodesResponse {
    const SHAPE: &'static Shape = &LIST_NODES_RESPONSE;
}

static LIST_OBJECTS_REQUEST: Shape = Shape { size: size_of::<v1::ListObjectsRequest>(), fields: &[(2, Field::Each(&FILTER)), (3, Field::One(&PAGE))] };
impl Shaped for v1::ListObjectsRequest {
    const SHAPE: &'static Shape = &LIST_OBJECTS_REQUEST;
}

static LIST_OBJECTS_RESPONSE: Shape = Shape { size: size_of::<v1::ListObjectsResponse>(), fields: &[(1, Field::Each(&OBJECT))] };
impl Shaped for v1::ListObjectsResponse {
    const SHAPE: &'static Shape = &LIST_OBJECTS_RESPONSE;
}

static LIST_SERVICES_REQUEST: Shape = Shape { size: size_of::<v1::ListServicesRequest>(), fields: &[(1, Field::Each(&FILTER)), (2, Field::One(&PAGE))] };
impl Shaped for v1::ListServicesRequest {
    const SHAPE: &'static Shape = &LIST_SERVICES_REQUEST;
}

static LIST_SERVICES_RESPONSE: Shape = Shape { size: size_of::<v1::ListServicesResponse>(), fields: &[(1, Field::Each(&SERVICE_ENTRY))] };
impl Shaped for v1::ListServicesResponse {
    const SHAPE: &'static Shape = &LIST_SERVICES_RESPONSE;
}

static LIST_TASKS_REQUEST: Shape = Shape { size: size_of::<v1::ListTasksRequest>(), fields: &[(1, Field::Each(&FILTER)), (2, Field::One(&PAGE))] };
impl Shaped for v1::ListTasksRequest {
    const SHAPE: &'static Shape = &LIST_TASKS_REQUEST;
}

static LIST_TASKS_RESPONSE: Shape = Shape { size: size_of::<v1::ListTasksResponse>(), fields: &[(1, Field::Each(&TASK))] };
impl Shaped for v1::ListTasksResponse {
    const SHAPE: &'static Shape = &LIST_TASKS_RESPONSE;
}

static LIST_UNLOCKERS_REQUEST: Shape = Shape { size: size_of::<v1::ListUnlockersRequest>(), fields: &[] };
impl Shaped for v1::ListUnlockersRequest {
    const SHAPE: &'static Shape = &LIST_UNLOCKERS_REQUEST;
}

static LIST_UNLOCKERS_RESPONSE: Shape = Shape { size: size_of::<v1::ListUnlockersResponse>(), fields: &[(1, Field::Each(&UNLOCKER_ENTRY))] };
impl Shaped for v1::ListUnlockersResponse {
    const SHAPE: &'static Shape = &LIST_UNLOCKERS_RESPONSE;
}

static LOG_END: Shape = Shape { size: size_of::<v1::LogEnd>(), fields: &[(1, Field::One(&LOG_END_DONE))] };
impl Shaped for v1::LogEnd {
    const SHAPE: &'static Shape = &LOG_END;
}

static LOG_END_DONE: Shape = Shape { size: size_of::<v1::log_end::Done>(), fields: &[] };
impl Shaped for v1::log_end::Done {
    const SHAPE: &'static Shape = &LOG_END_DONE;
}

static LOG_ENTRY: Shape = Shape { size: size_of::<v1::LogEntry>(), fields: &[(1, Field::One(&LOG_ID)), (2, Field::One(&LOG_ENTRY_BLANK)), (3, Field::One(&BATCH)), (4, Field::One(&MEMBERSHIP))] };
impl Shaped for v1::LogEntry {
    const SHAPE: &'static Shape = &LOG_ENTRY;
}

static LOG_ENTRY_BLANK: Shape = Shape { size: size_of::<v1::log_entry::Blank>(), fields: &[] };
impl Shaped for v1::log_entry::Blank {
    const SHAPE: &'static Shape = &LOG_ENTRY_BLANK;
}

static LOG_ID: Shape = Shape { size: size_of::<v1::LogId>(), fields: &[] };
impl Shaped for v1::LogId {
    const SHAPE: &'static Shape = &LOG_ID;
}

static LOG_LINE: Shape = Shape { size: size_of::<v1::LogLine>(), fields: &[] };
impl Shaped for v1::LogLine {
    const SHAPE: &'static Shape = &LOG_LINE;
}

static LOG_OPTIONS: Shape = Shape { size: size_of::<v1::LogOptions>(), fields: &[] };
impl Shaped for v1::LogOptions {
    const SHAPE: &'static Shape = &LOG_OPTIONS;
}

static LOG_SUBSCRIPTION: Shape = Shape { size: size_of::<v1::LogSubscription>(), fields: &[(3, Field::One(&LOG_OPTIONS))] };
impl Shaped for v1::LogSubscription {
    const SHAPE: &'static Shape = &LOG_SUBSCRIPTION;
}

static MANAGER_ADDR: Shape = Shape { size: size_of::<v1::ManagerAddr>(), fields: &[] };
impl Shaped for v1::ManagerAddr {
    const SHAPE: &'static Shape = &MANAGER_ADDR;
}

static MANAGER_ENTRY: Shape = Shape { size: size_of::<v1::ManagerEntry>(), fields: &[] };
impl Shaped for v1::ManagerEntry {
    const SHAPE: &'static Shape = &MANAGER_ENTRY;
}

static MANAGER_STATUS: Shape = Shape { size: size_of::<v1::ManagerStatus>(), fields: &[] };
impl Shaped for v1::ManagerStatus {
    const SHAPE: &'static Shape = &MANAGER_STATUS;
}

static MEMBER: Shape = Shape { size: size_of::<v1::Member>(), fields: &[] };
impl Shaped for v1::Member {
    const SHAPE: &'static Shape = &MEMBER;
}

static MEMBERSHIP: Shape = Shape { size: size_of::<v1::Membership>(), fields: &[(1, Field::Each(&MEMBERSHIP_VOTERS)), (2, Field::Each(&MEMBERSHIP_MEMBERS_ENTRY))] };
impl Shaped for v1::Membership {
    const SHAPE: &'static Shape = &MEMBERSHIP;
}

static MEMBERSHIP_MEMBERS_ENTRY: Shape = Shape { size: entry::<u64, v1::Member>(), fields: &[(2, Field::One(&MEMBER))] };

static MEMBERSHIP_VOTERS: Shape = Shape { size: size_of::<v1::membership::Voters>(), fields: &[(1, Field::Numbers)] };
impl Shaped for v1::membership::Voters {
    const SHAPE: &'static Shape = &MEMBERSHIP_VOTERS;
}

static META: Shape = Shape { size: size_of::<v1::Meta>(), fields: &[] };
impl Shaped for v1::Meta {
    const SHAPE: &'static Shape = &META;
}

static MODE: Shape = Shape { size: size_of::<v1::Mode>(), fields: &[(1, Field::One(&MODE_REPLICATED)), (2, Field::One(&MODE_GLOBAL))] };
impl Shaped for v1::Mode {
    const SHAPE: &'static Shape = &MODE;
}

static MODE_GLOBAL: Shape = Shape { size: size_of::<v1::mode::Global>(), fields: &[] };
impl Shaped for v1::mode::Global {
    const SHAPE: &'static Shape = &MODE_GLOBAL;
}

static MODE_REPLICATED: Shape = Shape { size: size_of::<v1::mode::Replicated>(), fields: &[] };
impl Shaped for v1::mode::Replicated {
    const SHAPE: &'static Shape = &MODE_REPLICATED;
}

static MOUNT: Shape = Shape { size: size_of::<v1::Mount>(), fields: &[(1, Field::One(&MOUNT_BIND)), (2, Field::One(&MOUNT_VOLUME)), (3, Field::One(&MOUNT_TMPFS))] };
impl Shaped for v1::Mount {
    const SHAPE: &'static Shape = &MOUNT;
}

static MOUNT_BIND: Shape = Shape { size: size_of::<v1::mount::Bind>(), fields: &[] };
impl Shaped for v1::mount::Bind {
    const SHAPE: &'static Shape = &MOUNT_BIND;
}

static MOUNT_TMPFS: Shape = Shape { size: size_of::<v1::mount::Tmpfs>(), fields: &[] };
impl Shaped for v1::mount::Tmpfs {
    const SHAPE: &'static Shape = &MOUNT_TMPFS;
}

static MOUNT_VOLUME: Shape = Shape { size: size_of::<v1::mount::Volume>(), fields: &[] };
impl Shaped for v1::mount::Volume {
    const SHAPE: &'static Shape = &MOUNT_VOLUME;
}

static MOVE_REQUEST: Shape = Shape { size: size_of::<v1::MoveRequest>(), fields: &[] };
impl Shaped for v1::MoveRequest {
    const SHAPE: &'static Shape = &MOVE_REQUEST;
}

static MOVE_RESPONSE: Shape = Shape { size: size_of::<v1::MoveResponse>(), fields: &[] };
impl Shaped for v1::MoveResponse {
    const SHAPE: &'static Shape = &MOVE_RESPONSE;
}

static NODE_DESCRIPTION: Shape = Shape { size: size_of::<v1::NodeDescription>(), fields: &[(8, Field::Each(&NODE_DESCRIPTION_ENGINE_LABELS_ENTRY))] };
impl Shaped for v1::NodeDescription {
    const SHAPE: &'static Shape = &NODE_DESCRIPTION;
}

static NODE_DESCRIPTION_ENGINE_LABELS_ENTRY: Shape = Shape { size: entry::<String, String>(), fields: &[] };

static NODE_ENTRY: Shape = Shape { size: size_of::<v1::NodeEntry>(), fields: &[(1, Field::One(&NODE_INFO))] };
impl Shaped for v1::NodeEntry {
    const SHAPE: &'static Shape = &NODE_ENTRY;
}

static NODE_IDENTITY: Shape = Shape { size: size_of::<v1::NodeIdentity>(), fields: &[(1, Field::Texts), (3, Field::Texts), (8, Field::Each(&MANAGER_ADDR)), (9, Field::One(&FELLOWS))] };
impl Shaped for v1::NodeIdentity {
    const SHAPE: &'static Shape = &NODE_IDENTITY;
}

static NODE_INFO: Shape = Shape { size: size_of::<v1::NodeInfo>(), fields: &[(2, Field::One(&META)), (5, Field::Each(&NODE_INFO_LABELS_ENTRY)), (6, Field::One(&NODE_DESCRIPTION)), (7, Field::One(&NODE_STATUS)), (8, Field::One(&MANAGER_STATUS)), (9, Field::One(&CERTIFICATE_STATUS)), (15, Field::One(&NODE_LEFT)), (18, Field::One(&SIGHTINGS))] };
impl Shaped for v1::NodeInfo {
    const SHAPE: &'static Shape = &NODE_INFO;
}

static NODE_INFO_LABELS_ENTRY: Shape = Shape { size: entry::<String, String>(), fields: &[] };

static NODE_KEYS: Shape = Shape { size: size_of::<v1::NodeKeys>(), fields: &[(4, Field::Each(&UNLOCKER)), (6, Field::Texts), (7, Field::Each(&UNLOCKER))] };
impl Shaped for v1::NodeKeys {
    const SHAPE: &'static Shape = &NODE_KEYS;
}

static NODE_LEFT: Shape = Shape { size: size_of::<v1::NodeLeft>(), fields: &[] };
impl Shaped for v1::NodeLeft {
    const SHAPE: &'static Shape = &NODE_LEFT;
}

static NODE_STATUS: Shape = Shape { size: size_of::<v1::NodeStatus>(), fields: &[] };
impl Shaped for v1::NodeStatus {
    const SHAPE: &'static Shape = &NODE_STATUS;
}

static OBJECT: Shape = Shape { size: size_of::<v1::Object>(), fields: &[(4, Field::Each(&OBJECT_LABELS_ENTRY)), (5, Field::One(&META)), (6, Field::Each(&VERSION))] };
impl Shaped for v1::Object {
    const SHAPE: &'static Shape = &OBJECT;
}

static OBJECT_LABELS_ENTRY: Shape = Shape { size: entry::<String, String>(), fields: &[] };

static OBJECT_VERSION: Shape = Shape { size: size_of::<v1::ObjectVersion>(), fields: &[] };
impl Shaped for v1::ObjectVersion {
    const SHAPE: &'static Shape = &OBJECT_VERSION;
}

static OUTCOME: Shape = Shape { size: size_of::<v1::Outcome>(), fields: &[(1, Field::One(&ANSWER)), (2, Field::One(&REFUSAL))] };
impl Shaped for v1::Outcome {
    const SHAPE: &'static Shape = &OUTCOME;
}

static OWNER: Shape = Shape { size: size_of::<v1::Owner>(), fields: &[] };
impl Shaped for v1::Owner {
    const SHAPE: &'static Shape = &OWNER;
}

static PAGE: Shape = Shape { size: size_of::<v1::Page>(), fields: &[] };
impl Shaped for v1::Page {
    const SHAPE: &'static Shape = &PAGE;
}

static PAYLOAD: Shape = Shape { size: size_of::<v1::Payload>(), fields: &[] };
impl Shaped for v1::Payload {
    const SHAPE: &'static Shape = &PAYLOAD;
}

static PLACEMENT: Shape = Shape { size: size_of::<v1::Placement>(), fields: &[(1, Field::Each(&CONSTRAINT)), (2, Field::Texts)] };
impl Shaped for v1::Placement {
    const SHAPE: &'static Shape = &PLACEMENT;
}

static PORT: Shape = Shape { size: size_of::<v1::Port>(), fields: &[] };
impl Shaped for v1::Port {
    const SHAPE: &'static Shape = &PORT;
}

static PROPOSE_REQUEST: Shape = Shape { size: size_of::<v1::ProposeRequest>(), fields: &[(2, Field::One(&REQUEST_ID)), (3, Field::One(&COMMAND))] };
impl Shaped for v1::ProposeRequest {
    const SHAPE: &'static Shape = &PROPOSE_REQUEST;
}

static PROPOSE_RESPONSE: Shape = Shape { size: size_of::<v1::ProposeResponse>(), fields: &[(1, Field::One(&OUTCOME))] };
impl Shaped for v1::ProposeResponse {
    const SHAPE: &'static Shape = &PROPOSE_RESPONSE;
}

static PUBLISH_LOGS_REQUEST: Shape = Shape { size: size_of::<v1::PublishLogsRequest>(), fields: &[(3, Field::Each(&LOG_LINE))] };
impl Shaped for v1::PublishLogsRequest {
    const SHAPE: &'static Shape = &PUBLISH_LOGS_REQUEST;
}

static PUBLISH_LOGS_RESPONSE: Shape = Shape { size: size_of::<v1::PublishLogsResponse>(), fields: &[] };
impl Shaped for v1::PublishLogsResponse {
    const SHAPE: &'static Shape = &PUBLISH_LOGS_RESPONSE;
}

static RAFT_IDENTITY: Shape = Shape { size: size_of::<v1::RaftIdentity>(), fields: &[] };
impl Shaped for v1::RaftIdentity {
    const SHAPE: &'static Shape = &RAFT_IDENTITY;
}

static READ_INDEX_REQUEST: Shape = Shape { size: size_of::<v1::ReadIndexRequest>(), fields: &[] };
impl Shaped for v1::ReadIndexRequest {
    const SHAPE: &'static Shape = &READ_INDEX_REQUEST;
}

static READ_INDEX_RESPONSE: Shape = Shape { size: size_of::<v1::ReadIndexResponse>(), fields: &[] };
impl Shaped for v1::ReadIndexResponse {
    const SHAPE: &'static Shape = &READ_INDEX_RESPONSE;
}

static REFERENCE: Shape = Shape { size: size_of::<v1::Reference>(), fields: &[(6, Field::One(&OWNER)), (7, Field::One(&OWNER))] };
impl Shaped for v1::Reference {
    const SHAPE: &'static Shape = &REFERENCE;
}

static REFILL_REQUEST: Shape = Shape { size: size_of::<v1::RefillRequest>(), fields: &[] };
impl Shaped for v1::RefillRequest {
    const SHAPE: &'static Shape = &REFILL_REQUEST;
}

static REFILL_RESPONSE: Shape = Shape { size: size_of::<v1::RefillResponse>(), fields: &[] };
impl Shaped for v1::RefillResponse {
    const SHAPE: &'static Shape = &REFILL_RESPONSE;
}

static REFUSAL: Shape = Shape { size: size_of::<v1::Refusal>(), fields: &[] };
impl Shaped for v1::Refusal {
    const SHAPE: &'static Shape = &REFUSAL;
}

static REKEYING: Shape = Shape { size: size_of::<v1::Rekeying>(), fields: &[(2, Field::One(&REWRAPPING))] };
impl Shaped for v1::Rekeying {
    const SHAPE: &'static Shape = &REKEYING;
}

static RELAY_LOGS_REQUEST: Shape = Shape { size: size_of::<v1::RelayLogsRequest>(), fields: &[(3, Field::One(&LOG_OPTIONS))] };
impl Shaped for v1::RelayLogsRequest {
    const SHAPE: &'static Shape = &RELAY_LOGS_REQUEST;
}

static RELAY_LOGS_RESPONSE: Shape = Shape { size: size_of::<v1::RelayLogsResponse>(), fields: &[(1, Field::Each(&LOG_LINE)), (2, Field::One(&LOG_END))] };
impl Shaped for v1::RelayLogsResponse {
    const SHAPE: &'static Shape = &RELAY_LOGS_RESPONSE;
}

static REMNANT: Shape = Shape { size: size_of::<v1::Remnant>(), fields: &[(5, Field::Each(&REMNANT_PAYLOAD))] };
impl Shaped for v1::Remnant {
    const SHAPE: &'static Shape = &REMNANT;
}

static REMNANT_PAYLOAD: Shape = Shape { size: size_of::<v1::RemnantPayload>(), fields: &[(3, Field::One(&OBJECT_VERSION))] };
impl Shaped for v1::RemnantPayload {
    const SHAPE: &'static Shape = &REMNANT_PAYLOAD;
}

static REMOVE_NODE_REQUEST: Shape = Shape { size: size_of::<v1::RemoveNodeRequest>(), fields: &[(1, Field::One(&REQUEST_ID))] };
impl Shaped for v1::RemoveNodeRequest {
    const SHAPE: &'static Shape = &REMOVE_NODE_REQUEST;
}

static REMOVE_NODE_RESPONSE: Shape = Shape { size: size_of::<v1::RemoveNodeResponse>(), fields: &[(2, Field::Each(&HOLDER))] };
impl Shaped for v1::RemoveNodeResponse {
    const SHAPE: &'static Shape = &REMOVE_NODE_RESPONSE;
}

static REMOVE_OBJECT_REQUEST: Shape = Shape { size: size_of::<v1::RemoveObjectRequest>(), fields: &[(1, Field::One(&REQUEST_ID))] };
impl Shaped for v1::RemoveObjectRequest {
    const SHAPE: &'static Shape = &REMOVE_OBJECT_REQUEST;
}

static REMOVE_RESPONSE: Shape = Shape { size: size_of::<v1::RemoveResponse>(), fields: &[] };
impl Shaped for v1::RemoveResponse {
    const SHAPE: &'static Shape = &REMOVE_RESPONSE;
}

static REMOVE_SERVICE_REQUEST: Shape = Shape { size: size_of::<v1::RemoveServiceRequest>(), fields: &[(1, Field::One(&REQUEST_ID))] };
impl Shaped for v1::RemoveServiceRequest {
    const SHAPE: &'static Shape = &REMOVE_SERVICE_REQUEST;
}

static REMOVE_TPM_REQUEST: Shape = Shape { size: size_of::<v1::RemoveTpmRequest>(), fields: &[] };
impl Shaped for v1::RemoveTpmRequest {
    const SHAPE: &'static Shape = &REMOVE_TPM_REQUEST;
}

static REMOVE_TPM_RESPONSE: Shape = Shape { size: size_of::<v1::RemoveTpmResponse>(), fields: &[(1, Field::One(&TPM_ENTRY))] };
impl Shaped for v1::RemoveTpmResponse {
    const SHAPE: &'static Shape = &REMOVE_TPM_RESPONSE;
}

static REMOVE_UNLOCKER_REQUEST: Shape = Shape { size: size_of::<v1::RemoveUnlockerRequest>(), fields: &[(1, Field::One(&REQUEST_ID))] };
impl Shaped for v1::RemoveUnlockerRequest {
    const SHAPE: &'static Shape = &REMOVE_UNLOCKER_REQUEST;
}

static REMOVE_UNLOCKER_RESPONSE: Shape = Shape { size: size_of::<v1::RemoveUnlockerResponse>(), fields: &[(1, Field::One(&UNLOCKER_ENTRY))] };
impl Shaped for v1::RemoveUnlockerResponse {
    const SHAPE: &'static Shape = &REMOVE_UNLOCKER_RESPONSE;
}

static RENEW_REQUEST: Shape = Shape { size: size_of::<v1::RenewRequest>(), fields: &[] };
impl Shaped for v1::RenewRequest {
    const SHAPE: &'static Shape = &RENEW_REQUEST;
}

static REQUEST_ID: Shape = Shape { size: size_of::<v1::RequestId>(), fields: &[] };
impl Shaped for v1::RequestId {
    const SHAPE: &'static Shape = &REQUEST_ID;
}

static RESOURCES: Shape = Shape { size: size_of::<v1::Resources>(), fields: &[] };
impl Shaped for v1::Resources {
    const SHAPE: &'static Shape = &RESOURCES;
}

static RESTART_POLICY: Shape = Shape { size: size_of::<v1::RestartPolicy>(), fields: &[(2, Field::One(&SPAN)), (4, Field::One(&SPAN))] };
impl Shaped for v1::RestartPolicy {
    const SHAPE: &'static Shape = &RESTART_POLICY;
}

static RESTORE_BACKUP_RESPONSE: Shape = Shape { size: size_of::<v1::RestoreBackupResponse>(), fields: &[(2, Field::One(&BACKUP_SUMMARY))] };
impl Shaped for v1::RestoreBackupResponse {
    const SHAPE: &'static Shape = &RESTORE_BACKUP_RESPONSE;
}

static REWRAPPING: Shape = Shape { size: size_of::<v1::Rewrapping>(), fields: &[] };
impl Shaped for v1::Rewrapping {
    const SHAPE: &'static Shape = &REWRAPPING;
}

static RIVAL: Shape = Shape { size: size_of::<v1::Rival>(), fields: &[(4, Field::Texts)] };
impl Shaped for v1::Rival {
    const SHAPE: &'static Shape = &RIVAL;
}

static ROLL_BACK_SERVICE_REQUEST: Shape = Shape { size: size_of::<v1::RollBackServiceRequest>(), fields: &[(1, Field::One(&REQUEST_ID))] };
impl Shaped for v1::RollBackServiceRequest {
    const SHAPE: &'static Shape = &ROLL_BACK_SERVICE_REQUEST;
}

static ROOT_OFFER: Shape = Shape { size: size_of::<v1::RootOffer>(), fields: &[] };
impl Shaped for v1::RootOffer {
    const SHAPE: &'static Shape = &ROOT_OFFER;
}

static ROOT_REQUEST: Shape = Shape { size: size_of::<v1::RootRequest>(), fields: &[] };
impl Shaped for v1::RootRequest {
    const SHAPE: &'static Shape = &ROOT_REQUEST;
}

static ROOT_RESPONSE: Shape = Shape { size: size_of::<v1::RootResponse>(), fields: &[(1, Field::One(&PAYLOAD))] };
impl Shaped for v1::RootResponse {
    const SHAPE: &'static Shape = &ROOT_RESPONSE;
}

static ROOT_ROTATION: Shape = Shape { size: size_of::<v1::RootRotation>(), fields: &[(3, Field::One(&ROOT_OFFER))] };
impl Shaped for v1::RootRotation {
    const SHAPE: &'static Shape = &ROOT_ROTATION;
}

static ROOT_STATUS: Shape = Shape { size: size_of::<v1::RootStatus>(), fields: &[(4, Field::One(&ROOT_ROTATION))] };
impl Shaped for v1::RootStatus {
    const SHAPE: &'static Shape = &ROOT_STATUS;
}

static ROTATE_AUTHORITY_REQUEST: Shape = Shape { size: size_of::<v1::RotateAuthorityRequest>(), fields: &[(1, Field::One(&REQUEST_ID))] };
impl Shaped for v1::RotateAuthorityRequest {
    const SHAPE: &'static Shape = &ROTATE_AUTHORITY_REQUEST;
}

static ROTATE_KEYS_REQUEST: Shape = Shape { size: size_of::<v1::RotateKeysRequest>(), fields: &[(1, Field::One(&REQUEST_ID))] };
impl Shaped for v1::RotateKeysRequest {
    const SHAPE: &'static Shape = &ROTATE_KEYS_REQUEST;
}

static SEALED: Shape = Shape { size: size_of::<v1::Sealed>(), fields: &[] };
impl Shaped for v1::Sealed {
    const SHAPE: &'static Shape = &SEALED;
}

static SERVICE: Shape = Shape { size: size_of::<v1::Service>(), fields: &[(2, Field::One(&META)), (3, Field::One(&SERVICE_SPEC)), (5, Field::One(&SERVICE_SPEC)), (6, Field::One(&UPDATE_STATUS))] };
impl Shaped for v1::Service {
    const SHAPE: &'static Shape = &SERVICE;
}

static SERVICE_ENTRY: Shape = Shape { size: size_of::<v1::ServiceEntry>(), fields: &[(1, Field::One(&SERVICE))] };
impl Shaped for v1::ServiceEntry {
    const SHAPE: &'static Shape = &SERVICE_ENTRY;
}

static SERVICE_LOGS_REQUEST: Shape = Shape { size: size_of::<v1::ServiceLogsRequest>(), fields: &[(2, Field::One(&LOG_OPTIONS))] };
impl Shaped for v1::ServiceLogsRequest {
    const SHAPE: &'static Shape = &SERVICE_LOGS_REQUEST;
}

static SERVICE_LOGS_RESPONSE: Shape = Shape { size: size_of::<v1::ServiceLogsResponse>(), fields: &[(5, Field::Each(&LOG_LINE))] };
impl Shaped for v1::ServiceLogsResponse {
    const SHAPE: &'static Shape = &SERVICE_LOGS_RESPONSE;
}

static SERVICE_SPEC: Shape = Shape { size: size_of::<v1::ServiceSpec>(), fields: &[(2, Field::Each(&SERVICE_SPEC_LABELS_ENTRY)), (3, Field::One(&TASK_SPEC)), (4, Field::One(&MODE)), (5, Field::One(&UPDATE_CONFIG)), (6, Field::One(&UPDATE_CONFIG))] };
impl Shaped for v1::ServiceSpec {
    const SHAPE: &'static Shape = &SERVICE_SPEC;
}

static SERVICE_SPEC_LABELS_ENTRY: Shape = Shape { size: entry::<String, String>(), fields: &[] };

static SESSION_REQUEST: Shape = Shape { size: size_of::<v1::SessionRequest>(), fields: &[(1, Field::One(&NODE_DESCRIPTION))] };
impl Shaped for v1::SessionRequest {
    const SHAPE: &'static Shape = &SESSION_REQUEST;
}

static SESSION_RESPONSE: Shape = Shape { size: size_of::<v1::SessionResponse>(), fields: &[(1, Field::One(&SESSION_STATE)), (2, Field::One(&LOG_SUBSCRIPTION))] };
impl Shaped for v1::SessionResponse {
    const SHAPE: &'static Shape = &SESSION_RESPONSE;
}

static SESSION_STATE: Shape = Shape { size: size_of::<v1::SessionState>(), fields: &[(2, Field::One(&NODE_INFO)), (3, Field::Each(&MANAGER_ADDR)), (4, Field::Texts), (5, Field::One(&SPAN))] };
impl Shaped for v1::SessionState {
    const SHAPE: &'static Shape = &SESSION_STATE;
}

static SET_COME_BACK_REQUEST: Shape = Shape { size: size_of::<v1::SetComeBackRequest>(), fields: &[(1, Field::One(&REQUEST_ID)), (2, Field::One(&SPAN))] };
impl Shaped for v1::SetComeBackRequest {
    const SHAPE: &'static Shape = &SET_COME_BACK_REQUEST;
}

static SET_COME_BACK_RESPONSE: Shape = Shape { size: size_of::<v1::SetComeBackResponse>(), fields: &[] };
impl Shaped for v1::SetComeBackResponse {
    const SHAPE: &'static Shape = &SET_COME_BACK_RESPONSE;
}

static SET_KEY_MAX_AGE_REQUEST: Shape = Shape { size: size_of::<v1::SetKeyMaxAgeRequest>(), fields: &[(1, Field::One(&REQUEST_ID)), (2, Field::One(&SPAN))] };
impl Shaped for v1::SetKeyMaxAgeRequest {
    const SHAPE: &'static Shape = &SET_KEY_MAX_AGE_REQUEST;
}

static SET_KEY_MAX_AGE_RESPONSE: Shape = Shape { size: size_of::<v1::SetKeyMaxAgeResponse>(), fields: &[] };
impl Shaped for v1::SetKeyMaxAgeResponse {
    const SHAPE: &'static Shape = &SET_KEY_MAX_AGE_RESPONSE;
}

static SET_NODE_REQUEST: Shape = Shape { size: size_of::<v1::SetNodeRequest>(), fields: &[(1, Field::One(&REQUEST_ID)), (5, Field::Each(&SET_NODE_REQUEST_LABELS_ENTRY))] };
impl Shaped for v1::SetNodeRequest {
    const SHAPE: &'static Shape = &SET_NODE_REQUEST;
}

static SET_NODE_REQUEST_LABELS_ENTRY: Shape = Shape { size: entry::<String, String>(), fields: &[] };

static SET_NODE_ROLE_REQUEST: Shape = Shape { size: size_of::<v1::SetNodeRoleRequest>(), fields: &[(1, Field::One(&REQUEST_ID))] };
impl Shaped for v1::SetNodeRoleRequest {
    const SHAPE: &'static Shape = &SET_NODE_ROLE_REQUEST;
}

static SET_OBJECT_LABELS_REQUEST: Shape = Shape { size: size_of::<v1::SetObjectLabelsRequest>(), fields: &[(1, Field::One(&REQUEST_ID)), (5, Field::Each(&SET_OBJECT_LABELS_REQUEST_LABELS_ENTRY))] };
impl Shaped for v1::SetObjectLabelsRequest {
    const SHAPE: &'static Shape = &SET_OBJECT_LABELS_REQUEST;
}

static SET_OBJECT_LABELS_REQUEST_LABELS_ENTRY: Shape = Shape { size: entry::<String, String>(), fields: &[] };

static SIGHTINGS: Shape = Shape { size: size_of::<v1::Sightings>(), fields: &[(1, Field::Numbers), (2, Field::One(&RIVAL))] };
impl Shaped for v1::Sightings {
    const SHAPE: &'static Shape = &SIGHTINGS;
}

static SNAPSHOT_END: Shape = Shape { size: size_of::<v1::SnapshotEnd>(), fields: &[] };
impl Shaped for v1::SnapshotEnd {
    const SHAPE: &'static Shape = &SNAPSHOT_END;
}

static SNAPSHOT_HEADER: Shape = Shape { size: size_of::<v1::SnapshotHeader>(), fields: &[(4, Field::One(&APPLIED))] };
impl Shaped for v1::SnapshotHeader {
    const SHAPE: &'static Shape = &SNAPSHOT_HEADER;
}

static SNAPSHOT_ROWS: Shape = Shape { size: size_of::<v1::SnapshotRows>(), fields: &[(1, Field::Each(&ENTITY)), (2, Field::Each(&BODY))] };
impl Shaped for v1::SnapshotRows {
    const SHAPE: &'static Shape = &SNAPSHOT_ROWS;
}

static SPAN: Shape = Shape { size: size_of::<v1::Span>(), fields: &[] };
impl Shaped for v1::Span {
    const SHAPE: &'static Shape = &SPAN;
}

static STAMPED: Shape = Shape { size: size_of::<v1::Stamped>(), fields: &[(1, Field::One(&REQUEST_ID)), (3, Field::One(&COMMAND))] };
impl Shaped for v1::Stamped {
    const SHAPE: &'static Shape = &STAMPED;
}

static STAND_REQUEST: Shape = Shape { size: size_of::<v1::StandRequest>(), fields: &[] };
impl Shaped for v1::StandRequest {
    const SHAPE: &'static Shape = &STAND_REQUEST;
}

static STAND_RESPONSE: Shape = Shape { size: size_of::<v1::StandResponse>(), fields: &[] };
impl Shaped for v1::StandResponse {
    const SHAPE: &'static Shape = &STAND_RESPONSE;
}

static STANDING: Shape = Shape { size: size_of::<v1::Standing>(), fields: &[(2, Field::One(&LOG_ID)), (3, Field::One(&LOG_ID)), (4, Field::One(&VOTE)), (6, Field::Each(&STANDING_MARK))] };
impl Shaped for v1::Standing {
    const SHAPE: &'static Shape = &STANDING;
}

static STANDING_MARK: Shape = Shape { size: size_of::<v1::standing::Mark>(), fields: &[] };
impl Shaped for v1::standing::Mark {
    const SHAPE: &'static Shape = &STANDING_MARK;
}

static STATUS_REQUEST: Shape = Shape { size: size_of::<v1::StatusRequest>(), fields: &[] };
impl Shaped for v1::StatusRequest {
    const SHAPE: &'static Shape = &STATUS_REQUEST;
}

static STATUS_RESPONSE: Shape = Shape { size: size_of::<v1::StatusResponse>(), fields: &[(7, Field::Each(&MANAGER_ENTRY)), (16, Field::Texts), (24, Field::Each(&TPM_ENTRY)), (31, Field::Texts), (40, Field::Each(&CLONED_NODE)), (41, Field::One(&SPAN))] };
impl Shaped for v1::StatusResponse {
    const SHAPE: &'static Shape = &STATUS_RESPONSE;
}

static STORED_MEMBERSHIP: Shape = Shape { size: size_of::<v1::StoredMembership>(), fields: &[(1, Field::One(&LOG_ID)), (2, Field::One(&MEMBERSHIP))] };
impl Shaped for v1::StoredMembership {
    const SHAPE: &'static Shape = &STORED_MEMBERSHIP;
}

static TASK: Shape = Shape { size: size_of::<v1::Task>(), fields: &[(2, Field::One(&META)), (5, Field::Each(&TASK_SERVICE_LABELS_ENTRY)), (8, Field::One(&TASK_SPEC)), (10, Field::Each(&OBJECT_VERSION)), (12, Field::One(&TASK_STATUS))] };
impl Shaped for v1::Task {
    const SHAPE: &'static Shape = &TASK;
}

static TASK_SERVICE_LABELS_ENTRY: Shape = Shape { size: entry::<String, String>(), fields: &[] };

static TASK_CHANGE: Shape = Shape { size: size_of::<v1::TaskChange>(), fields: &[(1, Field::Boxed(&TASK)), (2, Field::One(&TASK_CHANGE_ASSIGN)), (3, Field::One(&TASK_CHANGE_DESIRE)), (4, Field::One(&TASK_CHANGE_REPORT)), (5, Field::One(&TASK_CHANGE_NOTE)), (6, Field::One(&TASK_CHANGE_DELETE)), (7, Field::One(&TASK_CHANGE_WIPED))] };
impl Shaped for v1::TaskChange {
    const SHAPE: &'static Shape = &TASK_CHANGE;
}

static TASK_CHANGE_ASSIGN: Shape = Shape { size: size_of::<v1::task_change::Assign>(), fields: &[] };
impl Shaped for v1::task_change::Assign {
    const SHAPE: &'static Shape = &TASK_CHANGE_ASSIGN;
}

static TASK_CHANGE_DELETE: Shape = Shape { size: size_of::<v1::task_change::Delete>(), fields: &[] };
impl Shaped for v1::task_change::Delete {
    const SHAPE: &'static Shape = &TASK_CHANGE_DELETE;
}

static TASK_CHANGE_DESIRE: Shape = Shape { size: size_of::<v1::task_change::Desire>(), fields: &[] };
impl Shaped for v1::task_change::Desire {
    const SHAPE: &'static Shape = &TASK_CHANGE_DESIRE;
}

static TASK_CHANGE_NOTE: Shape = Shape { size: size_of::<v1::task_change::Note>(), fields: &[(2, Field::One(&TASK_STATUS))] };
impl Shaped for v1::task_change::Note {
    const SHAPE: &'static Shape = &TASK_CHANGE_NOTE;
}

static TASK_CHANGE_REPORT: Shape = Shape { size: size_of::<v1::task_change::Report>(), fields: &[(3, Field::One(&TASK_STATUS))] };
impl Shaped for v1::task_change::Report {
    const SHAPE: &'static Shape = &TASK_CHANGE_REPORT;
}

static TASK_CHANGE_WIPED: Shape = Shape { size: size_of::<v1::task_change::Wiped>(), fields: &[] };
impl Shaped for v1::task_change::Wiped {
    const SHAPE: &'static Shape = &TASK_CHANGE_WIPED;
}

static TASK_SPEC: Shape = Shape { size: size_of::<v1::TaskSpec>(), fields: &[(1, Field::One(&CONTAINER_SPEC)), (2, Field::Each(&REFERENCE)), (3, Field::One(&RESOURCES)), (4, Field::One(&RESTART_POLICY)), (5, Field::One(&PLACEMENT)), (6, Field::Each(&PORT))] };
impl Shaped for v1::TaskSpec {
    const SHAPE: &'static Shape = &TASK_SPEC;
}

static TASK_STATUS: Shape = Shape { size: size_of::<v1::TaskStatus>(), fields: &[] };
impl Shaped for v1::TaskStatus {
    const SHAPE: &'static Shape = &TASK_STATUS;
}

static TASK_STATUS_UPDATE: Shape = Shape { size: size_of::<v1::TaskStatusUpdate>(), fields: &[(2, Field::One(&TASK_STATUS))] };
impl Shaped for v1::TaskStatusUpdate {
    const SHAPE: &'static Shape = &TASK_STATUS_UPDATE;
}

static TOKEN: Shape = Shape { size: size_of::<v1::Token>(), fields: &[] };
impl Shaped for v1::Token {
    const SHAPE: &'static Shape = &TOKEN;
}

static TPM_ENTRY: Shape = Shape { size: size_of::<v1::TpmEntry>(), fields: &[] };
impl Shaped for v1::TpmEntry {
    const SHAPE: &'static Shape = &TPM_ENTRY;
}

static UNLOCK_REQUEST: Shape = Shape { size: size_of::<v1::UnlockRequest>(), fields: &[(1, Field::One(&PAYLOAD))] };
impl Shaped for v1::UnlockRequest {
    const SHAPE: &'static Shape = &UNLOCK_REQUEST;
}

static UNLOCK_RESPONSE: Shape = Shape { size: size_of::<v1::UnlockResponse>(), fields: &[] };
impl Shaped for v1::UnlockResponse {
    const SHAPE: &'static Shape = &UNLOCK_RESPONSE;
}

static UNLOCKER: Shape = Shape { size: size_of::<v1::Unlocker>(), fields: &[(3, Field::One(&UNLOCKER_FILE)), (4, Field::One(&UNLOCKER_AUTOLOCK)), (5, Field::One(&UNLOCKER_RECOVERY)), (6, Field::One(&UNLOCKER_PASSPHRASE)), (7, Field::One(&UNLOCKER_SHAMIR)), (8, Field::One(&UNLOCKER_COMMAND)), (9, Field::One(&UNLOCKER_TPM2))] };
impl Shaped for v1::Unlocker {
    const SHAPE: &'static Shape = &UNLOCKER;
}

static UNLOCKER_AUTOLOCK: Shape = Shape { size: size_of::<v1::UnlockerAutolock>(), fields: &[] };
impl Shaped for v1::UnlockerAutolock {
    const SHAPE: &'static Shape = &UNLOCKER_AUTOLOCK;
}

static UNLOCKER_COMMAND: Shape = Shape { size: size_of::<v1::UnlockerCommand>(), fields: &[] };
impl Shaped for v1::UnlockerCommand {
    const SHAPE: &'static Shape = &UNLOCKER_COMMAND;
}

static UNLOCKER_ENTRY: Shape = Shape { size: size_of::<v1::UnlockerEntry>(), fields: &[] };
impl Shaped for v1::UnlockerEntry {
    const SHAPE: &'static Shape = &UNLOCKER_ENTRY;
}

static UNLOCKER_FILE: Shape = Shape { size: size_of::<v1::UnlockerFile>(), fields: &[] };
impl Shaped for v1::UnlockerFile {
    const SHAPE: &'static Shape = &UNLOCKER_FILE;
}

static UNLOCKER_PASSPHRASE: Shape = Shape { size: size_of::<v1::UnlockerPassphrase>(), fields: &[] };
impl Shaped for v1::UnlockerPassphrase {
    const SHAPE: &'static Shape = &UNLOCKER_PASSPHRASE;
}

static UNLOCKER_RECOVERY: Shape = Shape { size: size_of::<v1::UnlockerRecovery>(), fields: &[] };
impl Shaped for v1::UnlockerRecovery {
    const SHAPE: &'static Shape = &UNLOCKER_RECOVERY;
}

static UNLOCKER_SHAMIR: Shape = Shape { size: size_of::<v1::UnlockerShamir>(), fields: &[] };
impl Shaped for v1::UnlockerShamir {
    const SHAPE: &'static Shape = &UNLOCKER_SHAMIR;
}

static UNLOCKER_TPM2: Shape = Shape { size: size_of::<v1::UnlockerTpm2>(), fields: &[] };
impl Shaped for v1::UnlockerTpm2 {
    const SHAPE: &'static Shape = &UNLOCKER_TPM2;
}

static UPDATE_CONFIG: Shape = Shape { size: size_of::<v1::UpdateConfig>(), fields: &[(2, Field::One(&SPAN)), (4, Field::One(&SPAN))] };
impl Shaped for v1::UpdateConfig {
    const SHAPE: &'static Shape = &UPDATE_CONFIG;
}

static UPDATE_SERVICE_REQUEST: Shape = Shape { size: size_of::<v1::UpdateServiceRequest>(), fields: &[(1, Field::One(&REQUEST_ID)), (4, Field::One(&SERVICE_SPEC))] };
impl Shaped for v1::UpdateServiceRequest {
    const SHAPE: &'static Shape = &UPDATE_SERVICE_REQUEST;
}

static UPDATE_STATUS: Shape = Shape { size: size_of::<v1::UpdateStatus>(), fields: &[] };
impl Shaped for v1::UpdateStatus {
    const SHAPE: &'static Shape = &UPDATE_STATUS;
}

static UPDATE_TASK_STATUS_REQUEST: Shape = Shape { size: size_of::<v1::UpdateTaskStatusRequest>(), fields: &[(2, Field::Each(&TASK_STATUS_UPDATE)), (3, Field::Texts)] };
impl Shaped for v1::UpdateTaskStatusRequest {
    const SHAPE: &'static Shape = &UPDATE_TASK_STATUS_REQUEST;
}

static UPDATE_TASK_STATUS_RESPONSE: Shape = Shape { size: size_of::<v1::UpdateTaskStatusResponse>(), fields: &[] };
impl Shaped for v1::UpdateTaskStatusResponse {
    const SHAPE: &'static Shape = &UPDATE_TASK_STATUS_RESPONSE;
}

static VERSION: Shape = Shape { size: size_of::<v1::Version>(), fields: &[] };
impl Shaped for v1::Version {
    const SHAPE: &'static Shape = &VERSION;
}

static VOTE: Shape = Shape { size: size_of::<v1::Vote>(), fields: &[] };
impl Shaped for v1::Vote {
    const SHAPE: &'static Shape = &VOTE;
}

static VOTE_REQUEST: Shape = Shape { size: size_of::<v1::VoteRequest>(), fields: &[(2, Field::One(&VOTE)), (3, Field::One(&LOG_ID))] };
impl Shaped for v1::VoteRequest {
    const SHAPE: &'static Shape = &VOTE_REQUEST;
}

static VOTE_RESPONSE: Shape = Shape { size: size_of::<v1::VoteResponse>(), fields: &[(1, Field::One(&VOTE)), (3, Field::One(&LOG_ID))] };
impl Shaped for v1::VoteResponse {
    const SHAPE: &'static Shape = &VOTE_RESPONSE;
}

static WATCH_SERVICE_REQUEST: Shape = Shape { size: size_of::<v1::WatchServiceRequest>(), fields: &[] };
impl Shaped for v1::WatchServiceRequest {
    const SHAPE: &'static Shape = &WATCH_SERVICE_REQUEST;
}

static WATCH_SERVICE_RESPONSE: Shape = Shape { size: size_of::<v1::WatchServiceResponse>(), fields: &[(1, Field::One(&SERVICE)), (2, Field::Each(&TASK)), (3, Field::Texts)] };
impl Shaped for v1::WatchServiceResponse {
    const SHAPE: &'static Shape = &WATCH_SERVICE_RESPONSE;
}

static WORKER_TASKS: Shape = Shape { size: size_of::<v1::WorkerTasks>(), fields: &[(1, Field::Each(&TASK))] };
impl Shaped for v1::WorkerTasks {
    const SHAPE: &'static Shape = &WORKER_TASKS;
}

static WRAPPED_KEY: Shape = Shape { size: size_of::<v1::WrappedKey>(), fields: &[] };
impl Shaped for v1::WrappedKey {
    const SHAPE: &'static Shape = &WRAPPED_KEY;
}

static WRAPPED_TERM: Shape = Shape { size: size_of::<v1::WrappedTerm>(), fields: &[] };
impl Shaped for v1::WrappedTerm {
    const SHAPE: &'static Shape = &WRAPPED_TERM;
}
