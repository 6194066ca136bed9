// Lets g++ compile CUDA kernels that include nothing: what NVRTC knows by itself is declared here.
// A kernel's source follows as text; runtime.cpp runs it.
#pragma once
#define CUDA_ON_HOST 1

#include "qualifiers.h"
#include "vectors.h"

#include "threads.h"

#include "atomics.h"
#include "functions.h"

#include "exports.h"
