-- When this database was restored from a backup (`scripts/restore.sh` adds a row). Mails that an earlier event causes may have
-- been sent after the backup was made, so they are logged as SKIPPED and not sent; staff can send them again.
create table notification.restores (
  at timestamptz primary key
);
