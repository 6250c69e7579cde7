/* SPDX-License-Identifier: MIT */
/* The fast engine: our own KVM monitor, flashvm-vmm (src/vmm). */
#pragma once

#include "engine/engine.h"

extern const struct fvm_engine fvm_engine_native;
