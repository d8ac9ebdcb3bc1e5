package cni

// What tests read from outside.
var (
	Inode         = inode
	InNetns       = inNetns
	AddressesIn   = addressesIn
	Pin           = pin
	Unpin         = unpin
	InterfaceName = interfaceName
)

// Bridge is the name of the built-in bridge, and of its network.
func (d *Driver) Bridge() string {
	subnet, err := parseSubnet(d.Subnet)
	if err != nil {
		panic(err)
	}
	return bridgeName(subnet)
}

// EachRule calls a function with each static rule of the built-in bridge.
func (d *Driver) EachRule(visit func(table, chain string, args []string)) {
	n, err := d.builtIn(false)
	if err != nil {
		panic(err)
	}
	for _, r := range n.rules() {
		visit(r.table, r.chain, r.args)
	}
}

// CutShort makes a record look as if its ADD had not returned.
func (d *Driver) CutShort(workspace string) error {
	r, err := d.read(workspace)
	if err != nil {
		return err
	}
	r.Addresses, r.Links, r.Result = nil, nil, nil
	return d.write(r)
}

// ResolvConf is the resolv.conf of a container on a host with these files.
func ResolvConf(host, systemd string, six bool) (string, error) {
	r, err := readResolv(host)
	return r.orSystemds(systemd).forContainer(six), err
}

// Rules are the rules that publish ports, in words.
func Rules(text string) (all []string) {
	for _, r := range parseRules(text) {
		all = append(all, r.port.OnHost()+": "+r.by())
	}
	return all
}
