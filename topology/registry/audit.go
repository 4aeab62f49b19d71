package registry

import (
	"encoding/json"
	"slices"
)

// Limits of the audit.
const (
	// MaxAuditRecords and MaxAuditBytes bound what is kept in memory; the
	// oldest go first and are counted. Export them before if the law wants more.
	MaxAuditRecords = 200_000
	MaxAuditBytes   = 256 << 20
	// MaxAuditPage is how many records one query gives (spec 1.5).
	MaxAuditPage = 1000
	// MaxDetailBytes bounds what a record tells about an action that is no
	// change of the registry.
	MaxDetailBytes = 64 << 10
)

// Action is what somebody did.
type Action string

// The actions. The first eight are those of spec 1.5.
const (
	ConfigCreate  Action = "config.create"
	ConfigModify  Action = "config.modify"
	ConfigDelete  Action = "config.delete"
	SyncCreate    Action = "sync.create" // data sent from the console
	ConfigOnline  Action = "config.online"
	ConfigOffline Action = "config.offline"
	SignatureOn   Action = "signature.on"
	SignatureOff  Action = "signature.off"

	InstanceCreate   Action = "instance.create"
	InstanceModify   Action = "instance.modify"
	InstanceDelete   Action = "instance.delete"
	KeyCreate        Action = "key.create"
	KeyRotate        Action = "key.rotate"
	KeyRevoke        Action = "key.revoke"
	UserCreate       Action = "user.create"
	UserModify       Action = "user.modify"
	UserDelete       Action = "user.delete"
	LoginOK          Action = "login.ok"
	LoginFailed      Action = "login.failed"
	LoginLock        Action = "login.lock"
	LoginUnlock      Action = "login.unlock"
	Logout           Action = "logout"
	MemberJoin       Action = "member.join"
	MemberRemove     Action = "member.remove"
	LeaderTransfer   Action = "leader.transfer"
	Redeliver        Action = "redeliver"
	RulesSwitch      Action = "rules.switch"
	SettingsPublish  Action = "settings.publish"
	RegistryCreate   Action = "registry.create"
	RegistryBackup   Action = "registry.backup"
	RegistryRestored Action = "registry.restore"
)

// ActionInfo names an action for people.
type ActionInfo struct {
	Action  Action
	English string
	Chinese string
	noted   bool // may be written by a [Note]: it is no change of the registry
}

// Actions lists every action in the order in which filters offer them.
var Actions = []ActionInfo{
	{ConfigCreate, "create config", "新建配置", false},
	{ConfigModify, "modify config", "修改配置", false},
	{ConfigDelete, "delete config", "删除配置", false},
	{SyncCreate, "create sync", "新建同步", true},
	{ConfigOnline, "config online", "上线配置", false},
	{ConfigOffline, "config offline", "下线配置", false},
	{SignatureOn, "signature on", "开启签名", false},
	{SignatureOff, "signature off", "关闭签名", false},
	{InstanceCreate, "create instance", "新建实例", false},
	{InstanceModify, "modify instance", "修改实例", false},
	{InstanceDelete, "delete instance", "删除实例", false},
	{KeyCreate, "create key", "新建密钥", false},
	{KeyRotate, "rotate key", "轮换密钥", false},
	{KeyRevoke, "revoke key", "吊销密钥", false},
	{UserCreate, "create user", "新建用户", false},
	{UserModify, "modify user", "修改用户", false},
	{UserDelete, "delete user", "删除用户", false},
	{LoginOK, "login", "登录", false},
	{LoginFailed, "failed login", "登录失败", false},
	{LoginLock, "lock login", "锁定登录", false},
	{LoginUnlock, "unlock login", "解除登录锁定", false},
	{Logout, "logout", "退出登录", true},
	{MemberJoin, "member joined", "节点加入", true},
	{MemberRemove, "member removed", "节点移除", true},
	{LeaderTransfer, "transfer leadership", "移交主节点", true},
	{Redeliver, "redeliver", "重新投递", true},
	{RulesSwitch, "switch rules", "切换规则版本", false},
	{SettingsPublish, "publish settings again", "重新发布配置", false},
	{RegistryCreate, "create registry", "新建注册中心", false},
	{RegistryBackup, "back up registry", "备份注册中心", true},
	{RegistryRestored, "restore registry", "恢复注册中心", false},
}

// Object is what an action was about.
type Object struct {
	Kind       string `json:"kind"` // instance, config, key, user, member, service, placement, ...
	InstanceID string `json:"instanceId,omitempty"`
	Name       string `json:"name,omitempty"`
}

// Record is one action in the audit. It must not be changed.
type Record struct {
	Seq      int64           `json:"seq"` // counts up from 1; a hole is a record that was dropped
	Time     int64           `json:"time"`
	Revision int64           `json:"revision"` // of the registry after the action
	Actor    string          `json:"actor"`
	Source   string          `json:"source,omitempty"`
	Action   Action          `json:"action"`
	Object   Object          `json:"object"`
	Before   json.RawMessage `json:"before,omitempty"` // the object as it was
	After    json.RawMessage `json:"after,omitempty"`  // the object as it is, or what was done
}

// size is about what a record takes in memory.
func (r *Record) size() int64 {
	o := &r.Object
	return int64(160 + len(r.Actor) + len(r.Source) + len(o.InstanceID) + len(o.Name) + len(r.Before) + len(r.After))
}

// audit keeps the newest records. Record n of the queue has the Seq n+1.
type audit struct {
	records queue[Record]
	bytes   int64
}

func (a audit) add(records []*Record) audit {
	for i, r := range records {
		r.Seq = a.records.next + int64(i) + 1
		a.bytes += r.size()
	}
	a.records = a.records.push(records...)
	first := a.records.first
	for a.records.next-first > MaxAuditRecords || a.bytes > MaxAuditBytes {
		a.bytes -= a.records.at(first).size()
		first++
	}
	if first > a.records.first {
		a.records = a.records.dropTo(first)
	}
	return a
}

// AuditFilter chooses records. Zero fields choose all.
type AuditFilter struct {
	Actor   string
	Actions []Action
	From    int64  // epoch ms, inclusive
	To      int64  // epoch ms, inclusive; 0: no end
	Object  Object // its zero fields choose all
	Before  int64  // only records whose Seq is below it: the next page
	Limit   int    // at most [MaxAuditPage], which is also the default
}

func (f *AuditFilter) takes(r *Record) bool {
	o := &f.Object
	return (f.Actor == "" || f.Actor == r.Actor) &&
		(len(f.Actions) == 0 || slices.Contains(f.Actions, r.Action)) &&
		r.Time >= f.From && (f.To == 0 || r.Time <= f.To) &&
		(o.Kind == "" || o.Kind == r.Object.Kind) &&
		(o.InstanceID == "" || o.InstanceID == r.Object.InstanceID) &&
		(o.Name == "" || o.Name == r.Object.Name)
}

// Audit lists records, newest first.
func (m *Model) Audit(f AuditFilter) []*Record {
	limit := f.Limit
	if limit <= 0 || limit > MaxAuditPage {
		limit = MaxAuditPage
	}
	q := m.audit.records
	n := q.next - 1
	if f.Before > 0 {
		n = min(n, f.Before-2)
	}
	var found []*Record
	for ; n >= q.first && len(found) < limit; n-- {
		if r := q.at(n); f.takes(r) {
			found = append(found, r)
		}
	}
	return found
}

// AuditRecord finds the record of a Seq, or nil.
func (m *Model) AuditRecord(seq int64) *Record {
	if q := m.audit.records; seq > q.first && seq <= q.next {
		return q.at(seq - 1)
	}
	return nil
}

// AuditDropped counts the records that were dropped to stay within limits.
func (m *Model) AuditDropped() int64 { return m.audit.records.first }

// AuditLen counts the records that are kept.
func (m *Model) AuditLen() int { return m.audit.records.len() }
