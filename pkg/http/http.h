// Front door of the package.
#pragma once

#include "http/client.h"
#include "http/endpoint.h"
#include "http/exchange.h"
#include "http/headers.h"
#include "http/in_process.h"
#include "http/limits.h"
#include "http/query.h"
#include "http/server.h"
#include "http/tls.h"
#include "http/websocket.h"
