/* SPDX-License-Identifier: MIT */
/* The engine that works everywhere: QEMU, with KVM where that really works, else TCG. */
#pragma once

#include "engine/engine.h"

extern const struct fvm_engine fvm_engine_qemu;
