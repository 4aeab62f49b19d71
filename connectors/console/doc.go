// Package console serves the operators' side of Tidemark: the admin API, and
// the pages that people use it through.
//
// # Contract
//
// [New] makes a console from its [Config]; [Console.Handler] is an
// http.Handler for the admin listener. It starts no goroutine, and all
// that lasts is in the registry, which is reached through an interface that the
// node fills in (seams.go has the others). Whoever calls is known by a login
// session or by [Config.Authorize], and what they change is in the audit under
// that name.
//
// # Where to start
//
// api.go has the routes in one table, from which the OpenAPI document is made
// too; api_*.go has what they do. page.go has the pages in another; they are
// templates in web/, need no script for anything but comfort, and change things
// by the same functions as the API, so the audit is the same.
//
// # Non-obvious
//
// A change answers when it is in the log of every partition, so that a request
// sent after the answer is decided by it. If that takes too long the answer is
// 202: the change is made, and is on its way.
//
// An admin port that is open on loopback is still in reach of every web page in
// a browser on that machine. So writes that come from other origins are refused,
// and so is a Host that is not loopback.
//
// A login session is a signed cookie, so every node of a cluster knows it and a
// restart ends none. A new password, another role, being disabled and a logout
// end it everywhere, and so does a restore of the registry for all. Failed
// logins are counted by each node for itself; a lock that comes of them is in
// the registry, and holds at every node.
//
// Without a leader of the registry nothing can be changed, but people can come
// in and look: a login is judged by what this node knows and is in its log
// only. A logout then ends the session at this node, and says that other nodes
// could not be told.
package console
