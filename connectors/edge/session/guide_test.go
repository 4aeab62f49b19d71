package session

import "testing"

// The rows of the product specification that sessions prove, in its order.

func TestS003_33_ArrivalOrderIsCallOrder(t *testing.T) {
	tell(t, `
	config A multi
	connect s device=d user=u biz=A
	push A u first
	    s <- A (0,1] first
	push A u second third
	    s <- A (1,3] second third
	`)
}

func TestS003_34_EveryLogHasItsOwnIds(t *testing.T) {
	tell(t, `
	config A multi
	config B multi
	push A u a1 a2
	push B u b1
	push A other x1
	connect s device=d user=u biz=A,B
	    s <- A (0,2] a1 a2
	    s <- B (0,1] b1
	`)
}

func TestS003_35_ExactlyWhatIsAboveTheSyncPoint(t *testing.T) {
	tell(t, `
	config A multi
	push A u m1 m2 m3 m4 m5
	connect s device=d user=u biz=A points=A:3
	    s <- A (3,5] m4 m5
	`)
}

func TestS003_36_NothingForAClientThatIsUpToDate(t *testing.T) {
	tell(t, `
	config A multi
	push A u m1 m2
	connect s device=d user=u biz=A
	    s <- A (0,2] m1 m2
	ack s A 2
	    s point A/u/d = 2, 2 entries
	close s
	connect s device=d user=u biz=A
	connect t device=d user=u biz=A points=A:2
	`)
}

func TestS003_38_AConfirmedBatchIsTheSyncPoint(t *testing.T) {
	tell(t, `
	config A multi
	push A u m1 m2 m3
	connect s device=d user=u biz=A
	    s <- A (0,3] m1 m2 m3
	ack s A 2
	    s point A/u/d = 2, 2 entries
	ack s A 1
	ack s A 3
	    s point A/u/d = 3, 1 entries
	ack s A 3
	`)
}

func TestS003_39_WhatWasNotConfirmedComesAgain(t *testing.T) {
	tell(t, `
	config A multi
	push A u m1 m2 m3
	connect s device=d user=u biz=A
	    s <- A (0,3] m1 m2 m3
	ack s A 1
	    s point A/u/d = 1, 1 entries
	close s
	push A u m4
	connect s device=d user=u biz=A
	    s <- A (1,4] m2 m3 m4
	`)
}

func TestS003_41_OneMergedPushOverAllBusinesses(t *testing.T) {
	tell(t, `
	config A multi
	config B multi
	config C device
	push A u a1 a2
	push B u b1
	push C d c1
	connect s device=d user=u biz=A,B,C
	    s <- A (0,2] a1 a2
	    s <- B (0,1] b1
	    s <- C (0,1] c1
	`)
}

func TestS003_44_StoredWhileOfflineThenDelivered(t *testing.T) {
	tell(t, `
	config A multi
	push A u m1 m2 m3 until=5000
	now 4999
	connect s device=d user=u biz=A
	    s <- A (0,3] m1 m2 m3
	`)
}

func TestS003_45_APointAboveTheHeadDoesNotStarve(t *testing.T) {
	tell(t, `
	config A multi
	push A u m1 m2
	connect s device=d user=u biz=A points=A:1
	    s <- A (1,2] m2
	ack s A 2
	    s point A/u/d = 2, 1 entries
	close s
	connect s device=d user=u biz=A points=A:900
	    s notice 2 A 900
	push A u m3
	    s <- A (2,3] m3
	`)
}

func TestS003_46_ThreeStoredArriveInOrder(t *testing.T) {
	tell(t, `
	config A
	push A u m1 m2 m3
	connect s device=d user=u biz=A
	    s <- A (0,3] m1 m2 m3
	`)
}

func TestS003_47_NonPersistentIsPushedAtOnceOrNever(t *testing.T) {
	tell(t, `
	config A multi volatile
	push A u lost
	connect s device=d user=u biz=A
	push A u m2
	    s <- A (0,2] m2
	close s
	push A u lost too
	connect s device=d user=u biz=A
	push A u m5
	    s <- A (0,5] m5
	`)
}

func TestS003_48_ValidityEnds(t *testing.T) {
	tell(t, `
	config A multi
	push A u short until=2000
	push A u long until=9000
	now 2001
	connect s device=d user=u biz=A
	    s <- A (0,2] long
	`)
}

func TestS003_49_NoRedeliveryPastValidity(t *testing.T) {
	tell(t, `
	config A multi
	push A u m1 until=2000
	connect s device=d user=u biz=A
	    s <- A (0,1] m1
	close s
	now 2001
	connect s device=d user=u biz=A
	`)
}

func TestS003_52_ThresholdKeepsTheNewest(t *testing.T) {
	tell(t, `
	config A multi threshold=2
	push A u m1 m2 m3 m4 m5
	connect s device=d user=u biz=A
	    s <- A (0,5] m4 m5
	push A u m6 m7 m8
	    s <- A (5,8] m6 m7 m8
	`)
}

func TestS003_53_QueueKeepsAll(t *testing.T) {
	tell(t, `
	config A multi
	push A u m x=500
	connect s device=d user=u biz=A
	    s <- A (0,500] 500 entries
	`)
}

func TestS003_54_OneTargetsBacklogIsNotAnothers(t *testing.T) {
	tell(t, `
	config A multi threshold=2
	push A u m1 m2 m3
	push A v n1 n2
	connect s device=d user=v biz=A
	    s <- A (0,2] n1 n2
	`)
}

func TestS003_55_OverTheGapWithoutError(t *testing.T) {
	tell(t, `
	config A multi
	push A u m1 m2 m3 m4
	trim A u to=3
	connect s device=d user=u biz=A points=A:1
	    s <- A (1,4] m4
	ack s A 4
	    s point A/u/d = 4, 1 entries
	`)
}

func TestS003_57_AnyDeviceOfTheUser(t *testing.T) {
	tell(t, `
	config A multi
	connect s device=d1 user=u biz=A
	connect t device=d2 user=u biz=A
	connect o device=d3 user=other biz=A
	push A u m1
	    s <- A (0,1] m1
	    t <- A (0,1] m1
	`)
}

func TestS003_58_ADeviceWhoeverIsLoggedIn(t *testing.T) {
	tell(t, `
	config A device
	connect s device=d biz=A
	push A d m1
	    s <- A (0,1] m1
	bind s user=u
	push A d m2
	    s <- A (1,2] m2
	unbind s
	push A d m3
	    s <- A (2,3] m3
	`)
}

func TestS003_59_NoUserNoUserData(t *testing.T) {
	tell(t, `
	config A multi
	config G multi global
	connect s device=d biz=A,G
	push A u m1
	push A d m1
	push G * g1
	foreground s
	standings s
	    s A from 0 head 0 unknown true
	    s G from 0 head 0 unknown true
	`)
}

func TestS003_60_SingleDeviceIsTheNewestOnline(t *testing.T) {
	tell(t, `
	config A
	connect a device=d1 user=u biz=A
	connect b device=d2 user=u biz=A
	push A u m1
	    b <- A (0,1] m1
	`)
}

func TestS003_60_D25_TheNextWhenTheNewestIsFilteredOut(t *testing.T) {
	tell(t, `
	config A
	connect a device=d1 user=u biz=A os=iOS
	connect b device=d2 user=u biz=A os=Android
	connect c device=d3 user=u biz=B os=iOS
	push A u m1 os=iOS
	    a <- A (0,1] m1
	push A u m2
	    b <- A (0,2] m2
	`)
}

func TestS003_60_D25_TheNextWhenTheNewestGoesBeforeReceipt(t *testing.T) {
	tell(t, `
	config A
	connect a device=d1 user=u biz=A
	connect b device=d2 user=u biz=A
	push A u m1 m2 m3
	    b <- A (0,3] m1 m2 m3
	ack b A 1
	    b point A/u/d2 = 1, 1 entries
	close b
	    a <- A (0,3] m2 m3
	`)
}

func TestS003_61_ReceivedOnceIsEnoughForSingleDevice(t *testing.T) {
	tell(t, `
	config A
	push A u m1 m2
	connect b device=d1 user=u biz=A
	    b <- A (0,2] m1 m2
	ack b A 2
	    b point A/u/d1 = 2, 2 entries
	close b
	# on another device
	connect c device=d2 user=u biz=A
	# and after an installation that lost its point
	connect b device=d1 user=u biz=A points=A:0
	push A u m3
	    b <- A (2,3] m3
	`)
}

func TestS003_62_MultiDeviceGoesToAll(t *testing.T) {
	tell(t, `
	config A multi
	connect a device=d1 user=u biz=A
	connect b device=d2 user=u biz=A
	push A u m1
	    a <- A (0,1] m1
	    b <- A (0,1] m1
	`)
}

func TestS003_63_ANewDeviceGetsWhatOthersReceived(t *testing.T) {
	tell(t, `
	config A multi
	push A u m1 m2
	connect a device=d1 user=u biz=A
	    a <- A (0,2] m1 m2
	ack a A 2
	    a point A/u/d1 = 2, 2 entries
	connect c device=d3 user=u biz=A
	    c <- A (0,2] m1 m2
	`)
}

func TestS003_64_InstalledAgainStartsAgain(t *testing.T) {
	tell(t, `
	config A multi
	push A u m1 m2 m3
	connect a device=d user=u biz=A
	    a <- A (0,3] m1 m2 m3
	ack a A 3
	    a point A/u/d = 3, 3 entries
	close a
	connect a device=d user=u biz=A points=A:0
	    a point A/u/d = 0
	    a <- A (0,3] m1 m2 m3
	ack a A 1
	    a point A/u/d = 1, 1 entries
	close a
	# cut off before it had acknowledged the rest
	connect a device=d user=u biz=A
	    a <- A (1,3] m2 m3
	`)
}

func TestS003_65_DevicesConfirmForThemselves(t *testing.T) {
	tell(t, `
	config A multi
	push A u m1
	connect a device=d1 user=u biz=A
	    a <- A (0,1] m1
	connect b device=d2 user=u biz=A
	    b <- A (0,1] m1
	ack a A 1
	    a point A/u/d1 = 1, 1 entries
	close b
	connect b device=d2 user=u biz=A
	    b <- A (0,1] m1
	`)
}

func TestS003_67_68_GlobalWaitsForTheNextForeground(t *testing.T) {
	tell(t, `
	config G multi global
	connect s device=d user=u biz=G
	push G * g1
	foreground s
	    s <- G (0,1] g1
	push G * g2
	background s
	push G * g3
	foreground s
	    s <- G (1,3] g2 g3
	`)
}

func TestS003_69_70_GlobalForAllWhoComeOnline(t *testing.T) {
	tell(t, `
	config G multi global
	push G * g1 until=5000
	connect a device=d1 user=u biz=G
	    a <- G (0,1] g1
	connect b device=d2 user=u biz=G
	    b <- G (0,1] g1
	ack a G 1
	    a point G/u/d1 = 1, 1 entries
	close a
	connect a device=d1 user=u biz=G
	now 5001
	connect c device=d3 user=v biz=G
	`)
}

func TestS003_75_76_GlobalInOrderAndFiltered(t *testing.T) {
	tell(t, `
	config G global device
	push G * g1 os=IOS
	push G * g2 min=9.0 max=9.5
	push G * g3
	connect i device=d1 biz=G os=iOS version=8.0
	    i <- G (0,3] g1 g3
	connect a device=d2 biz=G os=Android version=9.1
	    a <- G (0,3] g2 g3
	`)
}

func TestS003_77_78_OSWithoutCase(t *testing.T) {
	tell(t, `
	config A multi
	push A u m1 os=iOS
	push A u m2 os=ANDROID
	push A u m3
	connect i device=d1 user=u biz=A os=IOS
	    i <- A (0,3] m1 m3
	connect a device=d2 user=u biz=A os=android
	    a <- A (0,3] m2 m3
	# a client that does not say gets what is for everybody
	connect n device=d3 user=u biz=A
	    n <- A (0,3] m3
	`)
}

func TestS003_79_80_81_83_VersionBoundsAreInclusive(t *testing.T) {
	tell(t, `
	config A multi
	push A u from min=8.6.0.9999
	push A u upto max=9.0.0.9999
	push A u ten min=8.10.0.0
	push A u all
	connect a device=d1 user=u biz=A version=8.6.0.9999
	    a <- A (0,4] from upto all
	connect b device=d2 user=u biz=A version=8.6.0.9998
	    b <- A (0,4] upto all
	connect c device=d3 user=u biz=A version=9.0.0.9999
	    c <- A (0,4] from upto ten all
	connect d device=d4 user=u biz=A version=9.0.1.0
	    d <- A (0,4] from ten all
	connect e device=d5 user=u biz=A version=8.9.0.0
	    e <- A (0,4] from upto all
	connect f device=d6 user=u biz=A
	    f <- A (0,4] all
	`)
}

func TestS003_82_D19_AFilteredEntryBlocksNothing(t *testing.T) {
	tell(t, `
	config A multi
	push A u m1 min=9.0
	connect s device=d user=u biz=A version=8.0
	close s
	# nothing later was delivered, so an upgrade still gets it
	connect s device=d user=u biz=A version=9.0
	    s <- A (0,1] m1
	close s
	connect s device=d user=u biz=A version=8.0
	push A u m2
	    s <- A (0,2] m2
	ack s A 2
	    s point A/u/d = 2, 1 entries
	close s
	# now it is passed over
	connect s device=d user=u biz=A version=9.0
	`)
}

func TestS003_84_85_86_ConsistencyNeedsAValidSession(t *testing.T) {
	tell(t, `
	config A multi consistency
	push A u m1
	connect s device=d user=u session=x biz=A
	verdict s invalid
	push A u m2
	ack s A 1
	    s refused: id 1 of business "A" was never sent on this session (it got up to 0)
	bind s user=u session=y
	verdict s valid
	    s <- A (0,2] m1 m2
	`)
}

func TestS003_87_94_WithoutConsistencyTheVerdictDoesNotMatter(t *testing.T) {
	tell(t, `
	config A multi
	config C multi consistency
	connect s device=d user=u session=SESSION_DEMO biz=A,C
	verdict s invalid
	push A u m1
	    s <- A (0,1] m1
	push C u c1
	`)
}

func TestS003_89_ANewVerdictReplacesTheOld(t *testing.T) {
	tell(t, `
	config A multi consistency
	connect s device=d user=u session=x biz=A
	verdict s valid
	push A u m1
	    s <- A (0,1] m1
	bind s user=u session=y
	push A u m2
	verdict s invalid
	push A u m3
	verdict s valid
	    s <- A (1,3] m2 m3
	`)
}

func TestS003_93_DevicesAreNotAskedForConsistency(t *testing.T) {
	tell(t, `
	config A device consistency
	connect s device=d biz=A
	push A d m1
	    s <- A (0,1] m1
	`)
}

func TestS003_105_127_AnotherUserTakesOver(t *testing.T) {
	tell(t, `
	config A multi
	config D device
	connect s device=d user=u biz=A,D points=A:0
	push A u m1
	    s <- A (0,1] m1
	bind s user=v
	push A u m2
	push A v n1
	    s <- A (0,1] n1
	unbind s
	push A v n2
	push D d still
	    s <- D (0,1] still
	bind s user=u points=A:1
	    s <- A (1,2] m2
	`)
}

func TestS003_142_143_D20_OfflinePausesAndResumes(t *testing.T) {
	tell(t, `
	config A multi
	push A u m1
	config A multi offline
	connect s device=d user=u biz=A
	push A u m2 until=5000
	push A u m3
	now 5001
	config A multi
	    s <- A (0,3] m1 m3
	`)
}

// An entry that was accepted before the client came, and only seen later,
// counts as before.
func TestS003_67_68_SeenLateIsNotLater(t *testing.T) {
	tell(t, `
	config G multi global
	now 5000
	connect s device=d user=u biz=G
	push G * g1 written=4999
	    s <- G (0,1] g1
	push G * g2 written=5000
	foreground s
	    s <- G (1,2] g2
	`)
}
