// Front door: keys, certificates, authority, tokens, digests. OpenSSL stays behind it.
#pragma once

#include "pki/authority.h"
#include "pki/certificate.h"
#include "pki/digest.h"
#include "pki/jwt.h"
#include "pki/key.h"
#include "pki/password.h"
#include "pki/random.h"
