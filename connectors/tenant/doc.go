// Package tenant is who a client is: what we ask of a tenant's backend, and
// what a client has to show (spec 1.3.4, decision D24).
//
// # Contract
//
// [Validator] asks a tenant whether a user's session is valid. [Users] checks
// a tenant's JWT that binds a user. [Devices] gives a device its credential
// and checks it. All fail closed: what cannot be answered counts as no. An error
// that is [ErrUnanswered] is not the tenant's word: ask again later.
//
// # Outgoing calls
//
// URLs come from whoever may write the registry, so they are not trusted: the
// address is judged when it is dialled, after DNS, which a name that resolves
// to something else the second time does not get around. No redirect is
// followed, no proxy of the environment used, no answer read past a limit.
//
// # Device credentials
//
// A credential is an HMAC of instance and device under a key derived from the
// cluster's: any edge can check one without a look-up. Only the first connect of
// a device id gets one; that an id was seen is a record of the acks topic, so
// all nodes agree on who was first ([FirstFunc], edge.Server.FirstConnect), and
// that is as durable as the topic. The trade: nothing secret is stored and none has to be replicated, but a
// credential that is lost on its way to the device cannot be had again (with
// "issue" the device goes on without; with "require" it needs another id).
//
// # Goroutines
//
// HTTP connections that are kept for the next call own theirs; Close of
// [Caller] ends the idle ones.
package tenant
