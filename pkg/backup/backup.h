// The front door of the package: backups of a store. README.md has the picture and the format.
#pragma once

#include "backup/backup_file.h"  // the file format
#include "backup/online.h"       // of a running store
#include "backup/restore.h"      // back into a data directory
#include "backup/schedule.h"     // on a timetable, with rotation
