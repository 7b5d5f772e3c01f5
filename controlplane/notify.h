// Telling a service manager how it goes, in systemd's protocol: one datagram to NOTIFY_SOCKET.
#pragma once

// Sends "KEY=value" lines. Nothing happens where no manager listens.
void notify_manager(const char *lines);
