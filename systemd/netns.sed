# SPDX-License-Identifier: GPL-2.0-or-later
# tlsport@.service, a tlsportd inside the network namespace %i, out of tlsport.service.
# The namespace is made by somebody else, later than sysinit.target.
/^# A port must be registered/,/^Conflicts=/d
s,^Description=.*,& in network namespace %i,
s,^ExecStart=.*,& --config-dir /etc/netns/%i/tlsport --run-dir /run/tlsport@%i,
s,^ExecReload=[^ ]*,& --run-dir /run/tlsport@%i,
s,^RuntimeDirectory=.*,RuntimeDirectory=tlsport@%i\
NetworkNamespacePath=/run/netns/%i,
s,^WantedBy=.*,WantedBy=multi-user.target,
