# SPDX-License-Identifier: GPL-2.0-or-later
# bash completion of tlsportctl; installed as bash-completion/completions/tlsportctl

_tlsportctl_ports()
{
	tlsportctl list 2>/dev/null | awk 'NR > 1 { print $1; if ($2 != "-") print $2 }'
}

_tlsportctl_services()
{
	tlsportctl services 2>/dev/null | awk 'NR > 1 { print $2 }'
}

_tlsportctl()
{
	local commands="enable disable list status conns check services reload upgrade check-config"
	local general="--json --help --config-dir --run-dir --netns"
	local settings="--cert --key --passphrase --cert-dir --address --strict-sni --ocsp --profile --min-version --max-version --ciphers --groups
		--prefer-server-ciphers --alpn --plaintext --truncation --handshake-timeout --max-handshakes --max-handshakes-per-source
		--max-handshake-rate --max-handshake-rate-per-source --key-limit --resumption --ticket-keys
		--client-auth --client-ca --client-crl --client-depth --proxy-protocol --offload --offload-tls13 --zerocopy --runtime --self-signed --name"
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command="" i

	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--config-dir|--run-dir|--netns)
			((i++)) ;;
		-*)
			;;
		*)
			command=${COMP_WORDS[i]}
			break ;;
		esac
	done

	case $prev in
	--cert|--key|--passphrase|--ticket-keys|--client-ca|--client-crl)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return ;;
	--config-dir|--run-dir|--cert-dir)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		return ;;
	--address)
		mapfile -t COMPREPLY < <(compgen -W "$(ip -o address 2>/dev/null | awk '{ sub("/.*", "", $4); print $4 }')" -- "$cur")
		return ;;
	--netns)
		mapfile -t COMPREPLY < <(compgen -W "$(ip netns list 2>/dev/null | awk '{ print $1 }')" -- "$cur")
		return ;;
	--min-version|--max-version)
		mapfile -t COMPREPLY < <(compgen -W "1.2 1.3" -- "$cur")
		return ;;
	--profile)
		mapfile -t COMPREPLY < <(compgen -W "intermediate modern fips strict" -- "$cur")
		return ;;
	--proxy-protocol)
		mapfile -t COMPREPLY < <(compgen -W "off v2" -- "$cur")
		return ;;
	--client-auth)
		mapfile -t COMPREPLY < <(compgen -W "none request require" -- "$cur")
		return ;;
	--ocsp)
		mapfile -t COMPREPLY < <(compgen -W "off file fetch" -- "$cur")
		return ;;
	--plaintext)
		mapfile -t COMPREPLY < <(compgen -W "reject alert redirect" -- "$cur")
		return ;;
	--truncation)
		mapfile -t COMPREPLY < <(compgen -W "strict tolerate" -- "$cur")
		return ;;
	--resumption|--zerocopy|--prefer-server-ciphers|--strict-sni)
		mapfile -t COMPREPLY < <(compgen -W "on off" -- "$cur")
		return ;;
	--offload)
		mapfile -t COMPREPLY < <(compgen -W "auto off require" -- "$cur")
		return ;;
	--offload-tls13)
		mapfile -t COMPREPLY < <(compgen -W "negotiate-1.2 refuse" -- "$cur")
		return ;;
	--alpn)
		mapfile -t COMPREPLY < <(compgen -W "http/1.1 h2 h2:http/1.1" -- "$cur")
		return ;;
	--ciphers|--groups|--handshake-timeout|--max-handshakes|--max-handshakes-per-source|--max-handshake-rate|--max-handshake-rate-per-source|--key-limit)
		return ;;
	esac

	case $command in
	"")
		mapfile -t COMPREPLY < <(compgen -W "$commands $general --version" -- "$cur") ;;
	enable)
		if [[ $cur == -* ]]; then
			mapfile -t COMPREPLY < <(compgen -W "$settings $general" -- "$cur")
		else
			mapfile -t COMPREPLY < <(compgen -W "$(_tlsportctl_services)" -- "$cur")
		fi ;;
	disable|status|conns)
		if [[ $cur == -* ]]; then
			mapfile -t COMPREPLY < <(compgen -W "$general" -- "$cur")
		else
			mapfile -t COMPREPLY < <(compgen -W "$(_tlsportctl_ports)" -- "$cur")
		fi ;;
	*)
		mapfile -t COMPREPLY < <(compgen -W "$general" -- "$cur") ;;
	esac
}

complete -F _tlsportctl tlsportctl
