package console

func (c *Console) registryStatus(r *request) (any, error) {
	return c.cfg.Registry.QuorumStatus(r.Context()), nil
}
