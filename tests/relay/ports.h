// Two kinds of descriptors that give one Ethernet frame for each read and take one for each write:
//
//   tap:NAME      a TAP device, made when it is not there; what the kernel sends through it is read
//   packet:NAME   a raw socket on an interface; what comes in there is read
#pragma once

// A descriptor that does not block, or -1 with a line for a person in `error`.
int port_open(const char *text, char *error, unsigned size);
