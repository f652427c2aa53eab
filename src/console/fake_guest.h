#pragma once

#include "console/testing/fake_guest.h"
