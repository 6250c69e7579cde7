/* SPDX-License-Identifier: MIT */
/*
 * The engine that runs krunvm(1): libkrun's kernel, and the image in containers-storage as the
 * guest's root file system. It can neither stop a guest nor copy one, so each run boots.
 */
#pragma once

#include "engine/engine.h"

extern const struct fvm_engine fvm_engine_krunvm;
